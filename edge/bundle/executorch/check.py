"""What an ExecuTorch artifact must hold: weights that fit its recipe, keys that are hashes, one answer either way."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from common import sha256_bytes
from edge.bundle.executorch import SCALE
from edge.bundle.executorch.compare import DIFFERENT
from edge.bundle.manifest import Artifact, Program
from edge.bundle.nested.weights import NestedWeights, open_nested_weights
from edge.bundle.parity_inputs import PARITY_INPUTS
from edge.bundle.reader import Bundle
from edge.errors import BundleError, RuntimeUnavailableError


def check_programs(bundle: Bundle, artifact: Artifact) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the claims about the content of `artifact`: its constants, each program's plain file, each one's parity.

    Raises BundleError for weights that are missing or do not fit their recipe.
    """
    weights = open_nested_weights(bundle, artifact)
    data = bundle.verified_bytes(artifact)
    yield "constants", partial(_named_by_content, weights)
    for program in artifact.programs:
        yield f"{program.name} file", partial(_rebuilt, weights, program)
        yield f"{program.name} parity", partial(_same_answers, data, weights, program)


def _named_by_content(weights: NestedWeights) -> str:
    for key, index in weights.keys.items():
        if sha256_bytes(weights.slice(index)) != key.removeprefix(SCALE):
            raise BundleError(
                f"constant {key} is not named by its content; a weight cache could mix it up with another"
            )
    return f"{len(weights.keys)} slices, each named by the SHA-256 of its bytes"


def _rebuilt(weights: NestedWeights, program: Program) -> str:
    data = weights.file(f"{program.name}.pte")
    return f"{program.name}.pte, {len(data):,} bytes, rebuilt as it was converted"


def _same_answers(data: bytes, weights: NestedWeights, program: Program) -> str:
    """Run a program with slices and as a plain file on the same inputs; every output must be the same, bit for bit.

    In a process of its own: ExecuTorch's Python runtime takes program files at their word, and a forged one ends it.
    """
    if find_spec("executorch") is None:
        raise RuntimeUnavailableError("ExecuTorch is not installed here: pip install executorch")
    _named_by_content(weights)  # else the runtime may read past the end of a constant
    name = f"{program.name}.pte"
    with TemporaryDirectory(prefix="dsnet-executorch-") as folder:
        contents = {name: weights.file(name), "model.pte": data, "program.json": program.model_dump_json().encode()}
        for file, content in contents.items():
            (Path(folder) / file).write_bytes(content)
        np.savez(Path(folder) / "constants.npz", **_as_arrays(weights.constants([name])))  # type: ignore[arg-type]
        command = [sys.executable, "-m", "edge.bundle.executorch.compare", folder]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode == DIFFERENT:
        raise BundleError(done.stdout.strip())
    if done.returncode != 0:
        raise BundleError(f"ExecuTorch did not survive {program.name} of model.pte (exit status {done.returncode})")
    return f"identical to its plain file on {PARITY_INPUTS} inputs"


def _as_arrays(constants: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    return {key: np.frombuffer(value, np.uint8) for key, value in constants.items()}
