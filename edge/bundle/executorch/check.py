"""What an ExecuTorch artifact must hold: weights that fit its recipe, keys that are hashes, one answer either way."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from common import sha256_bytes
from edge.bundle.manifest import Artifact, Program
from edge.bundle.nested.weights import NestedWeights, open_nested_weights
from edge.bundle.parity_inputs import PARITY_INPUTS, parity_inputs
from edge.bundle.reader import Bundle
from edge.errors import BundleError, RuntimeUnavailableError
from edge.runtime.native_stderr import native_stderr_silenced

SCALE = "scale_"


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
    """Run a program with slices and as a plain file on the same inputs; every output must be the same, bit for bit."""
    try:
        with native_stderr_silenced():
            from edge.bundle.executorch.pte import data_file
            from edge.runtime.executorch_session import LoadedMethod
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError("ExecuTorch is not installed here: pip install executorch") from error
    name = f"{program.name}.pte"
    with TemporaryDirectory(prefix="dsnet-executorch-") as folder:
        paths = [Path(folder) / file for file in (name, "model.pte", "model.ptd")]
        contents = (weights.file(name), data, data_file(weights.constants([name])))
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        plain, nested = LoadedMethod(paths[0], program), LoadedMethod(paths[1], program, paths[2])
        for inputs in parity_inputs(program):
            expected, found = plain.run(inputs), nested.run(inputs)
            for tensor, values in found.items():
                if not np.array_equal(values, expected[tensor]):
                    difference = np.abs(values.astype(np.float64) - expected[tensor].astype(np.float64)).max()
                    raise BundleError(f"{tensor} differs by {difference:g} between the slices and the plain file")
    return f"identical to its plain file on {PARITY_INPUTS} inputs"
