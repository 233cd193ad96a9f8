"""What must hold across a manifest's records, beyond the type of each field. Every check yields clauses of one line."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from common.program_names import GATE, trunk_programs, whole_program
from edge.bundle.archive import path_problem
from edge.bundle.manifest import (
    Artifact,
    Manifest,
    OperatingPoint,
    Program,
    TensorInfo,
    TreePolicy,
    UtilityPolicy,
    Width,
)
from edge.bundle.policies import TreeNode, leaves

TENSORS = {
    "prefix": (["image"], ["features", "gate_logits"]),
    "stage": (["features"], ["features", "gate_logits"]),
    "tail": (["features"], ["logits"]),
    "gate": (["image"], ["gate_logits"]),
    "net": (["image"], ["logits"]),
}
"""Role → the names of its inputs and outputs."""
Item = TypeVar("Item", bound=Hashable)


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


def chains(artifact: Artifact) -> dict[int, tuple[Program, ...]]:
    """Return the programs that an image passes through, in running order, by width, narrow → wide."""
    found: dict[int, list[Program]] = {}
    for program in artifact.programs:
        for width in program.widths:
            found.setdefault(width, []).append(program)
    return {width: tuple(found[width]) for width in sorted(found)}


def artifact_widths(artifact: Artifact) -> list[int]:
    """Return the widths that `artifact` can run, narrow → wide."""
    return sorted({width for program in artifact.programs if program.answers for width in program.widths})


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
    parts, lengths = max(1, len(manifest.gates)), {len(width.path) for width in manifest.widths}
    if lengths != {parts}:
        found = ", ".join(map(str, sorted(lengths)))
        yield f"paths of {found} entries; with {len(manifest.gates)} gate(s) they have {parts}"
    elif len(manifest.gates) <= 1:
        for width in manifest.widths:
            if width.path != [width.index]:
                yield f"path {width.path} of width {width.index}; with at most one gate it must be [{width.index}]"
    for path in _repeated(tuple(width.path) for width in manifest.widths):
        yield f"path {list(path)} appears twice"


def _gate_problems(manifest: Manifest) -> Iterator[str]:
    kinds = [gate.kind for gate in manifest.gates]
    if kinds not in ([], ["side"]) and set(kinds) != {"trunk"}:
        yield f"gates {kinds[:8]}; valid: none, one at the side, or any number on the trunk"
    for number, gate in enumerate(manifest.gates):
        entries = {width.path[number] for width in manifest.widths if number < len(width.path)}
        if gate.choices != sorted(set(gate.choices)) or not set(gate.choices) <= entries:
            yield f"gate choices {gate.choices[:8]} must be ascending entries of {sorted(entries)[:8]}"


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
    held, chain = artifact_widths(artifact), chains(artifact)
    set_problems = list(_program_set_problems(manifest, held, artifact.programs, chain))
    yield from set_problems
    for program in artifact.programs:
        yield from (f"{program.name}: {clause}" for clause in _tensor_problems(manifest, artifact, program))
    if not set_problems:
        yield from dict.fromkeys(_features_problems(chain.values()))
    names = {program.name for program in artifact.programs}
    for parity in artifact.parity:
        if parity.program not in names:
            yield f"parity of {parity.program[:40]!r}, which is not one of its programs"
    for accuracy in artifact.accuracy:
        if accuracy.width not in held:
            yield f"accuracy of width {accuracy.width}, which it does not hold"


def _program_set_problems(
    manifest: Manifest, held: Sequence[int], programs: Sequence[Program], chain: Mapping[int, Sequence[Program]]
) -> Iterator[str]:
    unknown = [width for width in held if width >= len(manifest.widths)]
    if unknown:
        yield f"programs for widths {unknown[:8]}; valid: 0…{len(manifest.widths) - 1}"
        return
    paths = {width: _programs_of(manifest, manifest.widths[width]) for width in held}
    needed: dict[str, list[int]] = {}
    for width, names in paths.items():
        for name in names:
            needed.setdefault(name, []).append(width)
    found = {program.name: program.widths for program in programs}
    if found.keys() != needed.keys() or not held:
        kinds = [gate.kind for gate in manifest.gates]
        gates = f"{len(kinds)} {kinds[0]} gate(s)" if kinds else "no gate"
        wanted = ", ".join(list(needed)[:8]) or "one that answers for each width"
        yield f"with {gates} the programs must be {wanted}, found {', '.join(list(found)[:8])}"
        return
    wrong = [name for name, widths in needed.items() if found[name] != widths]
    for name in wrong:
        said, served = found[name][:8], needed[name][:8]
        yield f"program {name} says that it serves widths {said}; by their paths it serves {served}"
    if wrong:
        return
    for width, names in paths.items():
        if tuple(program.name for program in chain[width]) != names:
            yield f"the programs of width {width} must lie in the order in which they run: {', '.join(names)}"


def _programs_of(manifest: Manifest, width: Width) -> tuple[str, ...]:
    """Return the names of the programs that serve a width, in the order in which they run."""
    if not manifest.gates:
        return (whole_program(width.index),)
    if manifest.gates[0].kind == "side":
        return GATE, whole_program(width.index)
    return trunk_programs(width.path)


def _tensor_problems(manifest: Manifest, artifact: Artifact, program: Program) -> Iterator[str]:
    inputs, outputs = TENSORS[program.role]
    found = [tensor.name for tensor in program.inputs], [tensor.name for tensor in program.outputs]
    if found[0] != inputs or sorted(found[1]) != outputs:
        yield f"inputs and outputs must be {inputs} → {outputs}, found {found[0][:4]} → {found[1][:4]}"
    for tensor in (*program.inputs, *program.outputs):
        quantized = tensor.scale is not None and tensor.zero_point is not None
        if quantized != (tensor.dtype == "int8") or (tensor.scale is None) != (tensor.zero_point is None):
            yield f"{tensor.name} is {tensor.dtype}: int8 needs scale and zero_point, float32 neither"
        yield from _shape_problems(manifest, artifact, program, tensor)
    if program.root_offset is not None and program.root_offset > artifact.bytes - 4:
        yield f"root_offset {program.root_offset} lies outside the file of {artifact.bytes} bytes"


def _shape_problems(manifest: Manifest, artifact: Artifact, program: Program, tensor: TensorInfo) -> Iterator[str]:
    side = manifest.model.input_size
    image = [1, side, side, 3] if artifact.runtime == "litert" else [1, 3, side, side]
    if tensor.name == "image" and (tensor.shape != image or tensor.dtype != "float32"):
        yield f"image is {tensor.dtype} {tensor.shape}; with input size {side} it must be float32 {image}"
    counts = {"logits": [len(manifest.model.classes)], "gate_logits": _gate_logits(manifest, program)}
    for count in counts.get(tensor.name, []):
        if math.prod(tensor.shape) != count or tensor.shape[0] != 1:
            what = "classes" if tensor.name == "logits" else "gate choices"
            yield f"{tensor.name} has shape {tensor.shape}, which does not fit {count} {what}"


def _gate_logits(manifest: Manifest, program: Program) -> list[int]:
    """Return how many logits the gate that a program ends with has; none where it ends with no gate of the bundle."""
    number = int(program.name.split("_")[1]) if program.role == "stage" else 0
    return [len(gate.choices) for gate in manifest.gates[number : number + 1]]


def _features_problems(ways: Iterable[Sequence[Program]]) -> Iterator[str]:
    """Yield where a program takes features in another form than the one before it, on the path of a width, gives."""
    for programs in ways:
        for before, program in pairwise(programs):
            given, taken = _features(before.outputs), _features(program.inputs)
            if given != taken:
                yield f"{program.name} takes features as {taken}, but {before.name} gives {given}"


def _features(tensors: Iterable[TensorInfo]) -> str:
    return ", ".join(_layout(tensor) for tensor in tensors if tensor.name == "features") or "none"


def _layout(tensor: TensorInfo) -> str:
    quantization = "" if tensor.scale is None else f" with scale {tensor.scale!r} and zero point {tensor.zero_point}"
    return f"{tensor.dtype} {tensor.shape}{quantization}"


def _operating_point_problems(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with operating points. A stale one (no artifact's) is no problem until it is used."""
    for name in _repeated(point.name for point in manifest.operating_points):
        yield f"operating point {name} appears twice"
    held = [(artifact, artifact_widths(artifact)) for artifact in manifest.artifacts]
    for point in manifest.operating_points:
        yield from (f"operating point {point.name}: {clause}" for clause in operating_point_problems(manifest, point))
        for artifact, widths in held:
            absent = sorted(set(point.widths) - set(widths)) if artifact.sha256 == point.artifact_sha256 else []
            if absent:
                what = f"widths {absent[:8]} are not in {_label(artifact)}, which holds {widths[:16]}"
                yield f"operating point {point.name}: {what}"


def operating_point_problems(manifest: Manifest, point: OperatingPoint) -> Iterator[str]:
    """Yield what is wrong with one operating point, whichever artifact it is for."""
    if point.widths[-1] >= len(manifest.widths):
        yield f"width {point.widths[-1]}; valid: 0…{len(manifest.widths) - 1}"
    elif isinstance(point.policy, TreePolicy):
        yield from _tree_problems(manifest, point.policy.root, gate=0)
    if not manifest.gates and point.policy.asks_gate:
        yield "several widths, but the bundle has no gate to choose between them"
    logits = len(manifest.gates[0].choices) if manifest.gates else 0
    if isinstance(point.policy, UtilityPolicy) and len(point.policy.weights[0]) != logits:
        yield f"weights for {len(point.policy.weights[0])} gate logits; the gate has {logits}"
    strangers = [share.width for share in point.shares if share.width not in point.widths]
    if strangers:
        yield f"shares of widths {strangers[:8]}, which it does not use"


def _tree_problems(manifest: Manifest, node: TreeNode, gate: int) -> Iterator[str]:
    """Yield what keeps a node, at the depth of a gate, from deciding there."""
    if gate >= len(manifest.gates):
        yield f"a tree that asks {gate + 1} gates; the bundle has {len(manifest.gates)}"
        return
    for child in node.next:
        ways = {tuple(manifest.widths[width].path[: gate + 1]) for width in leaves(child)}
        if len(ways) > 1:
            yield f"widths {leaves(child)[:8]} go on together after gate {gate + 1}, where their programs differ"
        elif isinstance(child, TreeNode):
            yield from _tree_problems(manifest, child, gate + 1)


def _repeated(items: Iterable[Item]) -> list[Item]:
    return [item for item, count in Counter(items).items() if count > 1]
