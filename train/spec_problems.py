"""What can be wrong with a spec: every problem of one is found, so that all are told together. No torch."""

import re
from math import inf, isfinite
from typing import TYPE_CHECKING, Literal, get_args

from train.families import FAMILIES
from train.graph import Activation
from train.paths import path_count

if TYPE_CHECKING:
    from train.spec import GateSpec, StageSpec, SupernetSpec

BatchNormKind = Literal["shared affine", "switchable"]
ACTIVATIONS = get_args(Activation)
MAX_CHANNELS, MAX_CLASSES, MAX_RESOLUTION, MAX_WIDTHS, MAX_DEPTH = 16384, 100_000, 2048, 256, 256
MAX_EXPANSION, MAX_PATCH, MAX_GATES = 64, 64, 8


def spec_problems(spec: "SupernetSpec") -> list[str]:
    """Return every way in which a spec is out of range, each as one clause."""
    found = []
    if spec.family not in FAMILIES:
        found.append(f"family {spec.family!r:.60} is unknown (valid: {', '.join(FAMILIES)})")
    if spec.activation not in ACTIVATIONS:
        found.append(f"activation {spec.activation!r} is unknown (valid: {', '.join(ACTIVATIONS)})")
    if spec.batch_norm not in get_args(BatchNormKind):
        found.append(f"batch_norm {spec.batch_norm!r} is unknown (valid: {', '.join(get_args(BatchNormKind))})")
    if not _whole(spec.resolution, 8, MAX_RESOLUTION):
        found.append(f"resolution {spec.resolution} is not within 8…{MAX_RESOLUTION}")
    if not _whole(spec.classes, 2, MAX_CLASSES):
        found.append(f"classes {spec.classes} is not within 2…{MAX_CLASSES}")
    if not isinstance(spec.name, str) or not re.fullmatch(r"[\w.-]{1,64}", spec.name):
        found.append("the name needs 1…64 letters, digits, dots, dashes or underscores")
    if len(spec.mean) != 3 or len(spec.std) != 3 or not all(0 < deviation < inf for deviation in spec.std):
        found.append("mean and std need three numbers each, std above 0")
    if not all(isfinite(number) for number in (*spec.mean, spec.bn_epsilon)) or not 0 < spec.bn_epsilon < 1:
        found.append("mean must be finite, bn_epsilon in (0, 1)")
    if not 0 < spec.attention_ratio <= 1 or not 0 <= spec.dropout < 1:
        found.append("attention_ratio must be in (0, 1], dropout in [0, 1)")
    if not 1 <= len(spec.stages) <= 32:
        return [*found, f"{len(spec.stages)} stages; valid: 1…32"]
    head = [("head", spec.head)] if spec.head else []
    depthwise = [name for name, family in FAMILIES.items() if family.has_depthwise]
    expanding = [name for name, family in FAMILIES.items() if family.expands]
    transformers = [name for name, family in FAMILIES.items() if family.is_transformer]
    for label, stage in [("stem", spec.stem), *((f"stage {i}", stage) for i, stage in enumerate(spec.stages)), *head]:
        found += [
            f"{label}: {clause}" for clause in _stage_problems(stage, spec.family in transformers and label == "stem")
        ]
        if stage.expansion != 1 and (spec.family not in expanding or label in ("stem", "head")):
            families = " or ".join(expanding)
            found.append(f"{label}: expansion {stage.expansion}; only stages of family {families} have one")
        if stage.kernels is not None and (spec.family not in depthwise or label in ("stem", "head")):
            found.append(f"{label}: kernels; only stages of family {' or '.join(depthwise)} have any")
        if (stage.heads or stage.head_size or stage.hidden or stage.widens) and (
            spec.family not in transformers or label == "stem"
        ):
            found.append(
                f"{label}: heads, head_size, hidden, widens; only stages of family {' or '.join(transformers)} have any"
            )
    pooling = [name for name, family in FAMILIES.items() if family.has_stem_pool]
    if not isinstance(spec.stem_pool, bool):
        found.append(f"stem_pool {spec.stem_pool!r:.60} is neither true nor false")
    elif spec.stem_pool and spec.family not in pooling:
        found.append(f"stem_pool: only networks of family {' or '.join(pooling)} have one")
    if spec.head and (spec.head.depth, spec.head.stride, spec.head.kernel) != (1, 1, 1):
        found.append("head: depth, stride and kernel must be 1")
    if sum(stage.depth for stage in spec.stages if _whole(stage.depth, 1, MAX_DEPTH)) > MAX_DEPTH:
        found.append(f"more than {MAX_DEPTH} blocks in all")
    return found or _routing_problems(spec)


def _stage_problems(stage: "StageSpec", patches: bool) -> list[str]:
    found = []
    if not 1 <= len(stage.channels) <= MAX_WIDTHS or not all(_whole(c, 1, MAX_CHANNELS) for c in stage.channels):
        found.append(f"channels need 1…{MAX_WIDTHS} whole numbers within 1…{MAX_CHANNELS}")
    elif list(stage.channels) != sorted(stage.channels):
        found.append(f"channels {list(stage.channels)} must not decrease")
    elif stage.widest is not None and not _whole(stage.widest, stage.channels[-1], MAX_CHANNELS):
        found.append(f"widest {stage.widest} is not within {stage.channels[-1]}…{MAX_CHANNELS}")
    if patches:
        if (stage.depth, stage.stride) != (1, stage.kernel) or not _whole(stage.kernel, 1, MAX_PATCH):
            found.append(f"depth must be 1, kernel and stride one and the same within 1…{MAX_PATCH}: a patch")
        return found
    if not _whole(stage.depth, 1, MAX_DEPTH) or not _whole(stage.stride, 1, 4):
        found.append(f"depth must be within 1…{MAX_DEPTH}, stride within 1…4")
    if not _whole(stage.expansion, 1, MAX_EXPANSION):
        found.append(f"expansion {stage.expansion} is not within 1…{MAX_EXPANSION}")
    if not _whole(stage.kernel, 1, 15) or stage.kernel % 2 == 0:
        found.append(f"kernel {stage.kernel} must be odd and within 1…15")
    if stage.kernels is not None and not _are_kernels(stage.kernels):
        found.append(f"kernels {list(stage.kernels)} must be odd, within 1…15 and not decrease")
    return found


def _are_kernels(kernels: tuple[int, ...]) -> bool:
    return all(_whole(k, 1, 15) and k % 2 for k in kernels) and list(kernels) == sorted(kernels)


def _routing_problems(spec: "SupernetSpec") -> list[str]:
    if found := _path_problems(spec):
        return found
    counts = spec.part_counts
    first = spec.gates[0].stage if spec.gates else 0
    for number, stage in [(-1, spec.stem), *enumerate(spec.stages)]:
        count, label = len(stage.channels), "stem" if number < 0 else f"stage {number}"
        part = spec.part_at(number)
        if not spec.gates and count not in (1, 2, counts[0]):
            found.append(f"{label} has {count} channel counts; valid: {counts[0]} (routed), or 1 or 2 (narrow, wide)")
        elif spec.gates and part is not None and count != counts[part]:
            found.append(f"{label} has {count} channel counts; from the gate's stage on, {counts[part]} are needed")
        elif spec.gates and number < first and count > 2:
            found.append(f"{label} has {count} channel counts; before the gate, 1 or 2 are valid (narrow, wide)")
        if stage.kernels is not None and (part is None or len(stage.kernels) != counts[part]):
            expected = counts[part or 0]
            found.append(f"{label}: {len(stage.kernels)} kernels; a stage of {expected} widths has one for each")
    if spec.head and len(spec.head.channels) not in (1, counts[-1]):
        found.append(f"head has {len(spec.head.channels)} channel counts; valid: 1, or {counts[-1]} (routed)")
    return found or [*_gate_problems(spec), *FAMILIES[spec.family].problems(spec)]


def _path_problems(spec: "SupernetSpec") -> list[str]:
    """Return why a spec's paths cannot be listed: gates out of place, too many paths, or one that leads nowhere."""
    places = [gate.stage for gate in spec.gates]
    if len(places) > MAX_GATES:
        return [f"{len(places)} gates; valid: at most {MAX_GATES}"]
    for place in places:
        if not _whole(place, 0, len(spec.stages) - 1):
            return [f"gate stage {place} is not within 0…{len(spec.stages) - 1}"]
    if places != sorted(set(places)):
        return [f"gates at stages {places}; each needs a stage of its own, in their order"]
    for gate in spec.gates:
        if gate.reach is not None and not _whole(gate.reach, 0, MAX_WIDTHS):
            return [f"gate at stage {gate.stage}: reach {gate.reach} is not within 0…{MAX_WIDTHS}"]
    counts, reaches = spec.part_counts, [gate.reach for gate in spec.gates[1:]]
    for gate, before, count in zip(spec.gates[1:], counts, counts[1:], strict=False):
        if gate.reach is not None and abs(before - count) > gate.reach:
            numbers = f"its {count} entries and the {before} before"
            return [f"gate at stage {gate.stage}: reach {gate.reach}; {numbers} differ by more, so some are on no path"]
    if (found := path_count(counts, reaches)) > MAX_WIDTHS:
        return [f"{found} paths through the gates' widths; at most {MAX_WIDTHS}, so lower a gate's reach"]
    return []


def _gate_problems(spec: "SupernetSpec") -> list[str]:
    found = []
    if spec.gates and spec.side_gate:
        found.append("a gate and a side_gate; one decides")
    if spec.gates and not FAMILIES[spec.family].has_gate:
        found.append(f"family {spec.family} has no place for a gate on the trunk; give it a side_gate")
    if spec.gates and spec.gates[0].reach is not None:
        found.append("reach of the first gate; no part before it has a width that this one could lie near")
    for choices, count in zip(spec.choices, spec.part_counts, strict=False):
        known = all(_whole(choice, 0, count - 1) for choice in choices)
        if not choices or not known or list(choices) != sorted(set(choices)):
            found.append(f"gate choices {list(choices)} must be ascending entries of {list(range(count))[:8]}")
    for before, gate in zip(spec.gates, spec.gates[1:], strict=False):
        far = [choice for choice in before.choices if not _in_reach(gate, choice)]
        if far:
            found.append(f"gate at stage {gate.stage}: no choice within reach {gate.reach} of entries {far}")
    side = spec.side_gate
    if side and (not _whole(side.resolution, 1, spec.resolution) or spec.resolution % side.resolution):
        found.append(f"side_gate: resolution {side.resolution} must divide {spec.resolution}")
    if side and not (1 <= len(side.channels) <= 8 and all(_whole(c, 1, MAX_CHANNELS) for c in side.channels)):
        found.append(f"side_gate: channels need 1…8 whole numbers within 1…{MAX_CHANNELS}")
    return found


def _in_reach(gate: "GateSpec", entry: int) -> bool:
    return gate.reach is None or any(abs(choice - entry) <= gate.reach for choice in gate.choices)


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
