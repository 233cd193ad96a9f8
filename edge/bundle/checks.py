"""What must hold across a manifest's records, beyond the type of each field. Every check yields clauses of one line."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from edge.bundle.archive import path_problem
from edge.bundle.manifest import Artifact, Manifest, OperatingPoint, Program, TensorInfo, UtilityPolicy

TENSORS = {
    "prefix": (["image"], ["features", "gate_logits"]),
    "tail": (["features"], ["logits"]),
    "gate": (["image"], ["gate_logits"]),
    "net": (["image"], ["logits"]),
}
"""Role → the names of its inputs and outputs."""
ROLES = {"trunk": ("prefix", "tail"), "side": ("gate", "net"), None: (None, "net")}
"""Gate kind → the role of the program run for every image, and of the one run at the chosen width."""


def manifest_problems(manifest: Manifest) -> list[str]:
    """Return everything that does not hold together in `manifest`, each as one clause."""
    return [
        *_width_problems(manifest),
        *_gate_problems(manifest),
        *_file_problems(manifest),
        *(
            f"{_label(artifact)}: {clause}"
            for artifact in manifest.artifacts
            for clause in _artifact_problems(manifest, artifact)
        ),
        *_operating_point_problems(manifest),
    ]


def artifact_widths(artifact: Artifact) -> list[int]:
    """Return the widths that `artifact` can run, narrow → wide."""
    return sorted(program.width for program in artifact.programs if program.width is not None)


def artifact_bytes(manifest: Manifest, artifact: Artifact) -> int:
    """Return the size of an artifact with the weights files that belong to it."""
    owner = artifact.runtime, artifact.precision
    return artifact.bytes + sum(item.bytes for item in manifest.weights if (item.runtime, item.precision) == owner)


def _label(artifact: Artifact) -> str:
    return f"artifact {artifact.runtime} {artifact.precision}"


def _width_problems(manifest: Manifest) -> Iterator[str]:
    indices = [width.index for width in manifest.widths]
    if indices != list(range(len(indices))):
        yield f"widths must be numbered 0…{len(indices) - 1} in order, found {indices[:8]}"


def _gate_problems(manifest: Manifest) -> Iterator[str]:
    if manifest.gate is None:
        return
    choices = manifest.gate.choices
    if choices != sorted(set(choices)) or choices[-1] >= len(manifest.widths):
        yield f"gate choices {choices[:8]} must be ascending widths within 0…{len(manifest.widths) - 1}"


def _file_problems(manifest: Manifest) -> Iterator[str]:
    names = [*(item.file for item in manifest.artifacts), *(item.file for item in manifest.weights)]
    yield from filter(None, map(path_problem, names))
    for label in _repeated(_label(artifact) for artifact in manifest.artifacts):
        yield f"{label} appears twice"
    owners = {_label(artifact) for artifact in manifest.artifacts}
    for label in (f"artifact {item.runtime} {item.precision}" for item in manifest.weights):
        if label not in owners:
            yield f"weights for {label}, which it does not hold"
    for what in _repeated(f"{item.role} of {item.runtime} {item.precision}" for item in manifest.weights):
        yield f"{what} appears twice"


def _artifact_problems(manifest: Manifest, artifact: Artifact) -> Iterator[str]:
    for name in _repeated(program.name for program in artifact.programs):
        yield f"program {name} appears twice"
    set_problems = list(_program_set_problems(manifest, artifact))
    yield from set_problems
    for program in artifact.programs:
        yield from (f"{program.name}: {clause}" for clause in _tensor_problems(manifest, artifact, program))
    if not set_problems:
        yield from _features_problems(artifact)
    names = {program.name for program in artifact.programs}
    for parity in artifact.parity:
        if parity.program not in names:
            yield f"parity of {parity.program[:40]!r}, which is not one of its programs"
    for accuracy in artifact.accuracy:
        if accuracy.width not in artifact_widths(artifact):
            yield f"accuracy of width {accuracy.width}, which it does not hold"


def _program_set_problems(manifest: Manifest, artifact: Artifact) -> Iterator[str]:
    kind = manifest.gate.kind if manifest.gate else None
    shared, per_width = ROLES[kind]
    roles = [program.role for program in artifact.programs]
    expected = f"{shared} and {per_width}_NN" if shared else f"{per_width}_NN alone"
    wrong = [program.name for program in artifact.programs if program.role not in (shared, per_width)]
    if wrong or per_width not in roles or (shared is not None and shared not in roles):
        gate = f"a {kind} gate" if kind else "no gate"
        found = ", ".join(program.name for program in artifact.programs[:8])
        yield f"with {gate} the programs must be {expected}, found {found}"
    for width in artifact_widths(artifact):
        if width >= len(manifest.widths):
            yield f"program for width {width}; valid: 0…{len(manifest.widths) - 1}"


def _tensor_problems(manifest: Manifest, artifact: Artifact, program: Program) -> Iterator[str]:
    inputs, outputs = TENSORS[program.role]
    found = [tensor.name for tensor in program.inputs], [tensor.name for tensor in program.outputs]
    if found[0] != inputs or sorted(found[1]) != outputs:
        yield f"inputs and outputs must be {inputs} → {outputs}, found {found[0][:4]} → {found[1][:4]}"
    for tensor in (*program.inputs, *program.outputs):
        quantized = tensor.scale is not None and tensor.zero_point is not None
        if quantized != (tensor.dtype == "int8") or (tensor.scale is None) != (tensor.zero_point is None):
            yield f"{tensor.name} is {tensor.dtype}: int8 needs scale and zero_point, float32 neither"
        yield from _shape_problems(manifest, artifact, tensor)
    if program.root_offset is not None and program.root_offset > artifact.bytes - 4:
        yield f"root_offset {program.root_offset} lies outside the file of {artifact.bytes} bytes"


def _shape_problems(manifest: Manifest, artifact: Artifact, tensor: TensorInfo) -> Iterator[str]:
    side = manifest.model.input_size
    image = [1, side, side, 3] if artifact.runtime == "litert" else [1, 3, side, side]
    if tensor.name == "image" and (tensor.shape != image or tensor.dtype != "float32"):
        yield f"image is {tensor.dtype} {tensor.shape}; with input size {side} it must be float32 {image}"
    counts = {"logits": len(manifest.model.classes), "gate_logits": len(manifest.gate.choices) if manifest.gate else 0}
    count = counts.get(tensor.name)
    if count and (math.prod(tensor.shape) != count or tensor.shape[0] != 1):
        what = "classes" if tensor.name == "logits" else "gate choices"
        yield f"{tensor.name} has shape {tensor.shape}, which does not fit {count} {what}"


def _features_problems(artifact: Artifact) -> Iterator[str]:
    produced = [
        _layout(tensor) for program in artifact.programs for tensor in program.outputs if tensor.name == "features"
    ]
    for program in artifact.programs:
        for tensor in program.inputs:
            if tensor.name == "features" and produced and _layout(tensor) != produced[0]:
                yield f"{program.name} takes features as {_layout(tensor)}, but prefix gives {produced[0]}"


def _layout(tensor: TensorInfo) -> str:
    quantization = "" if tensor.scale is None else f" with scale {tensor.scale!r} and zero point {tensor.zero_point}"
    return f"{tensor.dtype} {tensor.shape}{quantization}"


def _operating_point_problems(manifest: Manifest) -> Iterator[str]:
    for name in _repeated(point.name for point in manifest.operating_points):
        yield f"operating point {name} appears twice"
    for point in manifest.operating_points:
        yield from (f"operating point {point.name}: {clause}" for clause in operating_point_problems(manifest, point))


def operating_point_problems(manifest: Manifest, point: OperatingPoint) -> Iterator[str]:
    """Yield what is wrong with one operating point. A stale one (another artifact's) is no problem until it is used."""
    if point.widths[-1] >= len(manifest.widths):
        yield f"width {point.widths[-1]}; valid: 0…{len(manifest.widths) - 1}"
    if manifest.gate is None and point.policy.asks_gate:
        yield "several widths, but the bundle has no gate to choose between them"
    logits = len(manifest.gate.choices) if manifest.gate else 0
    if isinstance(point.policy, UtilityPolicy) and len(point.policy.weights[0]) != logits:
        yield f"weights for {len(point.policy.weights[0])} gate logits; the gate has {logits}"
    strangers = [share.width for share in point.shares if share.width not in point.widths]
    if strangers:
        yield f"shares of widths {strangers[:8]}, which it does not use"
    for artifact in manifest.artifacts:
        absent = sorted(set(point.widths) - set(artifact_widths(artifact)))
        if artifact.sha256 == point.artifact_sha256 and absent:
            yield f"widths {absent[:8]} are not in {_label(artifact)}, which holds {artifact_widths(artifact)[:16]}"


def _repeated(items: Iterable[str]) -> list[str]:
    return [item for item, count in Counter(items).items() if count > 1]
