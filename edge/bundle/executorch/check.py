"""What an ExecuTorch artifact must hold: weights that fit its recipe, keys that are hashes, one answer either way."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from common import sha256_bytes
from edge.bundle.executorch import SCALE
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
    comparison = _Comparison(bundle.verified_bytes(artifact), weights, artifact.programs)
    yield "constants", partial(_named_by_content, weights)
    for program in artifact.programs:
        yield f"{program.name} file", partial(_rebuilt, weights, program)
        yield f"{program.name} parity", partial(comparison.same_answers, program)


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


class _Comparison:
    """Runs programs with slices and as plain files on the same inputs; every output must be the same, bit for bit.

    In a process of its own: ExecuTorch's Python runtime takes program files at their word, and a forged one ends it.
    One process serves all programs; where one ends it, another goes on behind that.
    """

    def __init__(self, data: bytes, weights: NestedWeights, programs: Sequence[Program]) -> None:
        self._data = data
        self._weights = weights
        self._programs = {program.name: program for program in programs}
        self._problems: dict[str, str | None] = {}

    def same_answers(self, program: Program) -> str:
        """Return what was found of one program, or raise BundleError."""
        if find_spec("executorch") is None:
            raise RuntimeUnavailableError("ExecuTorch is not installed here: pip install executorch")
        if program.name not in self._problems:
            _named_by_content(self._weights)  # else the runtime may read past the end of a constant
            self._compare([name for name in self._programs if name not in self._problems])
        problem = self._problems[program.name]
        if problem is not None:
            raise BundleError(problem)
        return f"identical to its plain file on {PARITY_INPUTS} inputs"

    def _compare(self, names: Sequence[str]) -> None:
        with TemporaryDirectory(prefix="dsnet-executorch-") as name:
            folder = Path(name)
            (folder / "model.pte").write_bytes(self._data)
            for program in names:
                file = f"{program}.pte"
                (folder / file).write_bytes(self._weights.file(file))
                (folder / f"{program}.json").write_text(self._programs[program].model_dump_json())
                np.savez(folder / f"{program}.npz", **_as_arrays(self._weights.constants([file])))  # type: ignore[arg-type]
            command = [sys.executable, "-m", "edge.bundle.executorch.compare", name, *names]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        self._problems |= {answer["program"]: answer["problem"] for answer in answers}
        if done.returncode != 0 and len(answers) < len(names):
            ended = names[len(answers)]
            self._problems[ended] = f"ExecuTorch did not survive {ended} of model.pte (exit status {done.returncode})"
            if rest := names[len(answers) + 1 :]:
                self._compare(rest)


def _as_arrays(constants: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    return {key: np.frombuffer(value, np.uint8) for key, value in constants.items()}
