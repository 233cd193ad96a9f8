"""What a Core ML artifact must hold: packages that rebuild, constants where programs look for them, the manifest's
tensors. All of that on any machine; on a Mac, Core ML also runs every program.
"""

import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from edge.bundle.coreml.blobs import read_blobs
from edge.bundle.coreml.hydrate import check_merged, check_recipe, open_index
from edge.bundle.coreml.index import Index
from edge.bundle.coreml.model_file import SINGLE, Feature, constants
from edge.bundle.coreml.multifunction import merge
from edge.bundle.coreml.package import ITEMS, SUFFIX, WEIGHTS, Package, check_fits, model_of, output_feature, rebuild
from edge.bundle.manifest import Artifact, Program, TensorInfo
from edge.bundle.nested.weights import NestedWeights, open_nested_weights
from edge.bundle.reader import Bundle
from edge.bundle.records import parse_json
from edge.errors import BundleError, RuntimeUnavailableError

ROOT = "com.apple.CoreML/model.mlmodel"
"""What a package's item list calls its model file."""
SEED = 0


def check_programs(bundle: Bundle, artifact: Artifact) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the claims about `artifact`: its index, each program's package, all of them in one, what Core ML computes.

    Raises BundleError for an index or weights that cannot be read.
    """
    index = open_index(bundle, artifact)
    weights = open_nested_weights(bundle, artifact)
    yield "index", partial(_same_index, bundle, artifact, index)
    for program in artifact.programs:
        yield f"{program.name} package", partial(_sound_package, weights, program, index)
    if index.all_functions is not None:
        yield "package with all functions", partial(_same_merged, weights, index)
    for program in artifact.programs:
        yield f"{program.name} prediction", partial(_predicts, weights, program, index)


def _same_index(bundle: Bundle, artifact: Artifact, index: Index) -> str:
    named = [program.name for program in artifact.programs]
    if index.functions != named:
        raise BundleError(f"the index has {', '.join(index.functions)}; the manifest says {', '.join(named)}")
    check_recipe(bundle, artifact, index)
    return f"{len(named)} programs for {index.deployment_target}, of this recipe"


def _sound_package(weights: NestedWeights, program: Program, index: Index) -> str:
    """Rebuild a package, which compares its files with what was converted, and look at how they hold together."""
    package = rebuild(weights, program.name)
    _check_items(package)
    model = model_of(package)
    if (model.version, list(model.functions)) != (index.specification_version, [SINGLE]):
        raise BundleError(
            f"its model file is of version {model.version} with {', '.join(model.functions)}; the index says version "
            f"{index.specification_version}, and one function is {SINGLE}"
        )
    function = model.functions[SINGLE]
    for found, tensors in ((function.inputs, program.inputs), (function.outputs, _outputs(program))):
        _check_features(found, tensors, index)
    blobs = read_blobs(package[WEIGHTS]) if WEIGHTS in package else {}
    used = constants(function.body)
    for constant in used:
        if constant.offset not in blobs:
            raise BundleError(f"its program refers to byte {constant.offset} of weight.bin, where nothing is")
        check_fits(constant, blobs[constant.offset])
    if strays := set(blobs) - {constant.offset for constant in used}:
        raise BundleError(f"weight.bin holds {len(strays)} constants that its program does not use")
    size = sum(map(len, package.values()))
    return f"{program.name}{SUFFIX}, {size:,} bytes, rebuilt as it was converted; {len(blobs)} constants"


def _check_items(package: Package) -> None:
    try:
        items = parse_json(package[ITEMS])
        root = items["itemInfoEntries"][items["rootModelIdentifier"]]["path"]
    except (ValueError, LookupError, TypeError) as error:
        raise BundleError(f"{ITEMS} of the package is no list of items: {error}") from error
    if root != ROOT:
        raise BundleError(f"{ITEMS} of the package names {root!r} as the model, not {ROOT}")


def _check_features(found: tuple[Feature, ...], tensors: list[TensorInfo], index: Index) -> None:
    expected = {tensor.name: _expected(tensor, index) for tensor in tensors}
    there = {feature.name: feature for feature in found}
    wrong = [name for name in there | expected if there.get(name) != expected.get(name)]
    if wrong:
        clauses = (
            f"{name} is {_shown(there.get(name))}, the manifest says {_shown(expected.get(name))}" for name in wrong
        )
        raise BundleError("; ".join(clauses))


def _outputs(program: Program) -> list[TensorInfo]:
    """Return a program's outputs by the names that its package has for them."""
    inputs = [tensor.name for tensor in program.inputs]
    return [tensor.model_copy(update={"name": output_feature(tensor.name, inputs)}) for tensor in program.outputs]


def _expected(tensor: TensorInfo, index: Index) -> Feature:
    if tensor.name == "image" and index.image_input == "pixels":
        return Feature(tensor.name, "RGB", tuple(tensor.shape[2:]))
    return Feature(tensor.name, tensor.dtype, tuple(tensor.shape))


def _shown(feature: Feature | None) -> str:
    return "absent" if feature is None else f"{feature.kind} {list(feature.shape)}"


def _same_merged(weights: NestedWeights, index: Index) -> str:
    merged = merge({name: rebuild(weights, name) for name in index.functions}, index.functions[0])
    check_merged(merged, index)
    return f"{sum(map(len, merged.values())):,} bytes, merged as coremltools did"


def _predicts(weights: NestedWeights, program: Program, index: Index) -> str:
    """Run a program through Core ML on a Mac and look at what comes out. Written without a Mac: not verified."""
    if sys.platform != "darwin":
        raise RuntimeUnavailableError("Core ML runs on Apple's systems alone; verify on a Mac to run the programs")
    try:
        from coremltools.models import MLModel
        from PIL import Image
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError("coremltools is not installed here: pip install coremltools") from error
    generator = np.random.default_rng(SEED)
    (given,) = program.inputs
    values = generator.standard_normal(given.shape, np.float32)
    feature = _expected(given, index)
    picture = generator.integers(0, 256, (*feature.shape[-2:], 3), np.uint8)
    with tempfile.TemporaryDirectory(prefix="dsnet-coreml-") as folder:
        place = Path(folder) / f"{program.name}{SUFFIX}"
        for path, content in rebuild(weights, program.name).items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(content)
        model = MLModel(str(place))
        found = model.predict({given.name: Image.fromarray(picture) if feature.kind == "RGB" else values})
    for tensor in _outputs(program):
        output = np.asarray(found.get(tensor.name))
        if output.size != math.prod(tensor.shape) or not np.isfinite(output.astype(np.float64)).all():
            raise BundleError(f"Core ML's {tensor.name} has shape {output.shape} or is not finite")
    return f"Core ML gives finite {', '.join(tensor.name for tensor in _outputs(program))}"
