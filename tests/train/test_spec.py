"""A spec is data: it reads back equal, knows its costs, and is refused with every problem named."""

import json
from dataclasses import replace
from operator import le
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.train.networks import MICRO, MICRO_V2, normal_images
from train import GateSpec, SpecError, StageSpec, SupernetSpec, load_spec
from train.checkpoint import expected_tensors
from train.initialise import initial_supernet
from train.spec import spec_names
from train.supernet import Supernet


@pytest.mark.parametrize("name", spec_names())
def test_a_shipped_spec_reads_back_equal(name: str) -> None:
    spec = load_spec(name)
    assert SupernetSpec.from_json(spec.to_json()) == spec


def test_the_64_pixel_network_is_small_and_spans_a_wide_range_of_cost() -> None:
    spec = load_spec("ds_mbv1_64")
    ratio = spec.macs(spec.n_widths - 1) / spec.macs(0)
    assert spec.n_widths == 14
    assert spec.params(spec.largest) <= 2_000_000, spec.params(spec.largest)
    assert ratio >= 4, f"MAC range {ratio:.2f}"


@pytest.mark.parametrize("name", spec_names())
def test_cost_grows_with_the_width_of_any_part(name: str) -> None:
    spec = load_spec(name)
    macs = [spec.macs(width) for width in range(spec.largest + 1)]
    for width, path in enumerate(spec.paths):
        for other, wider in enumerate(spec.paths):
            if path != wider and all(map(le, path, wider)):
                assert macs[width] < macs[other], f"widths {width} and {other}, paths {path} and {wider}"
    assert max(macs) == macs[spec.largest]


def test_the_largest_network_is_the_widest_where_nothing_else_widens() -> None:
    plain = replace(MICRO, stem=StageSpec((4,), 1, 1), stages=(StageSpec((4,), 1, 2), *MICRO.stages[1:]))
    assert plain.largest == plain.n_widths - 1
    assert MICRO.largest == MICRO.n_widths


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "resnet"}, "family 'resnet' is unknown (valid: ds_mbv1, mobilenet_v1, mobilenet_v2, resnet_basic"),
        ({"family": "mobilenet_v1"}, "family mobilenet_v1 has no place for a gate on the trunk; give it a side_gate"),
        ({"head": StageSpec((8,), 2, 1, kernel=1)}, "head: depth, stride and kernel must be 1"),
        ({"head": StageSpec((8, 9), 1, 1, kernel=1)}, "head has 2 channel counts; valid: 1, or 5 (routed)"),
        ({"stem": StageSpec((4, 6), 1, 1, expansion=2)}, "stem: expansion 2; only stages of family mobilenet_v2"),
        ({"stem": StageSpec((4, 6), 1, 1, expansion=0)}, "stem: expansion 0 is not within 1…64"),
        ({"activation": "gelu"}, "valid: silu, relu, relu6, hardswish"),
        ({"batch_norm": "none"}, "batch_norm 'none' is unknown (valid: shared affine, switchable)"),
        ({"resolution": 4}, "resolution 4 is not within 8…2048"),
        ({"resolution": 32.0}, "resolution 32.0 is not within"),
        ({"classes": 1}, "classes 1 is not within"),
        ({"classes": True}, "classes True is not within"),
        ({"name": "../etc"}, "the name needs"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
        ({"mean": (float("nan"), 0.0, 0.0)}, "mean must be finite"),
        ({"bn_epsilon": 0.0}, "bn_epsilon in"),
        ({"attention_ratio": 0.0}, "attention_ratio must be in"),
        ({"dropout": 1.0}, "dropout in"),
        ({"stages": ()}, "0 stages; valid: 1…32"),
        ({"stem": StageSpec((8, 4), 1, 1)}, "stem: channels [8, 4] must not decrease"),
        ({"stem": StageSpec((0, 4), 1, 1)}, "stem: channels need"),
        ({"stem": StageSpec((4, 6), 1, 5)}, "stride within 1…4"),
        ({"stem": StageSpec((4, 6), 1, 1, kernel=4)}, "kernel 4 must be odd"),
        ({"stem": StageSpec((4, 6), 1, 1, widest=5)}, "widest 5 is not within 6…16384"),
        ({"stem": StageSpec((4, 6, 8), 1, 1)}, "stem has 3 channel counts; before the gate, 1 or 2 are valid"),
        ({"stages": tuple(replace(stage, depth=100) for stage in MICRO.stages)}, "more than 256 blocks"),
        ({"gates": (GateSpec(stage=3, choices=(0,)),)}, "gate stage 3 is not within 0…2"),
        ({"gates": (GateSpec(stage=2, choices=(0,)),)}, "stage 1 has 5 channel counts; before the gate, 1 or 2"),
        ({"gates": (GateSpec(stage=1, choices=(2, 0)),)}, "gate choices [2, 0] must be ascending entries of [0, 1, 2"),
        ({"gates": (GateSpec(stage=1, choices=(0, 5)),)}, "gate choices [0, 5]"),
        ({"gates": (GateSpec(stage=1, choices=()),)}, "gate choices []"),
    ],
)  # fmt: skip
def test_a_spec_out_of_range_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        replace(MICRO, **changes)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_residual_add_that_one_width_cannot_do_is_refused() -> None:
    first, *others = MICRO_V2.stages
    with pytest.raises(SpecError, match=r"stages.0.0: a residual add needs .* not \[4, 6, 8\] and \[2, 4, 8\]"):
        replace(MICRO_V2, stages=(replace(first, channels=(2, 4, 8)), *others))


def test_a_width_that_alone_would_add_where_the_network_does_not_cannot_be_cut_out() -> None:
    assert adds(MICRO_V2.restricted_to((0, 2))) == ["stages.1.1"]
    with pytest.raises(
        SpecError, match=r"widths \[1\] .* equal channels before and after stages.2.0, .* name other widths"
    ):
        MICRO_V2.restricted_to((1,))


def test_inverted_residuals_add_where_stride_and_channels_allow() -> None:
    assert adds(MICRO_V2) == ["stages.1.1"]
    layers = {layer.name: layer for layer in MICRO_V2.layers}
    expansions = [name for name in layers if name.endswith("expansion")]
    assert expansions == ["stages.1.0.expansion", "stages.1.1.expansion", "stages.2.0.expansion"]
    assert layers["stages.1.0.depthwise"].out_channels == (6, 12, 12), "expansion × the channels that come in"


def adds(spec: SupernetSpec) -> list[str]:
    return [node.output.name for node in spec.graph.nodes if node.op == "add"]


@pytest.mark.parametrize(
    ("name", "widest", "narrowest"),
    [
        ("us_mobilenet_v1", 569, 41),
        ("s_mobilenet_v1", 569, 41),
        ("us_mobilenet_v2", 301, 59),
        ("s_mobilenet_v2", 301, 59),
    ],
)
def test_slimmable_networks_cost_what_their_authors_report(name: str, widest: int, narrowest: int) -> None:
    spec = load_spec(name)
    assert round(spec.macs(spec.n_widths - 1) / 1e6) == widest
    assert round(spec.macs(0) / 1e6) == narrowest


def test_an_unknown_field_is_named_with_its_place_and_the_valid_ones() -> None:
    fields = json.loads(MICRO.to_json())
    fields["stages"][1]["dpeth"] = fields["stages"][1].pop("depth")
    with pytest.raises(SpecError) as refused:
        SupernetSpec.from_dict(fields)
    assert str(refused.value) == (
        "not a supernet spec: unknown field 'dpeth' in stages[1]; missing field 'depth' in stages[1]; "
        "valid: channels, depth, stride, kernel, expansion, widest, kernels, heads, head_size, hidden, widens"
    )
    with pytest.raises(SpecError, match="unknown field 'colour' in the spec; valid: name, resolution"):
        SupernetSpec.from_json(MICRO.to_json().replace('"name"', '"colour":1,"name"'))
    with pytest.raises(SpecError, match=r"unknown field 'kind' in gates\[0\]; valid: stage, choices"):
        SupernetSpec.from_json(MICRO.to_json().replace('"choices"', '"kind":1,"choices"'))


def test_all_problems_are_reported_together() -> None:
    with pytest.raises(SpecError, match=r"activation.*resolution.*classes"):
        replace(MICRO, activation="gelu", resolution=1, classes=0)


def test_a_gated_spec_of_three_widths_refuses_a_stem_of_three_in_one_line() -> None:
    stages = (StageSpec((4, 8), 1, 1), StageSpec((4, 6, 8), 1, 2))
    with pytest.raises(SpecError, match="stem has 3 channel counts; before the gate, 1 or 2") as caught:
        SupernetSpec("three", 8, 3, StageSpec((4, 6, 8), 1, 1), stages, (GateSpec(1, (0, 2)),))
    assert "\n" not in str(caught.value)


def test_batch_norm_is_shared_where_a_spec_does_not_say() -> None:
    fields = json.loads(MICRO.to_json())
    assert fields.pop("batch_norm") == "shared affine"
    assert SupernetSpec.from_dict(fields) == MICRO
    switchable = replace(MICRO, batch_norm="switchable")
    assert SupernetSpec.from_json(switchable.to_json()) == switchable


def test_switchable_batch_norm_costs_a_width_nothing_once_folded() -> None:
    switchable = replace(MICRO, batch_norm="switchable")
    for width in range(MICRO.largest + 1):
        assert switchable.params(width) == MICRO.params(width)
        assert switchable.macs(width) == MICRO.macs(width)


@pytest.mark.parametrize("places", [(0,), (3,), (0, 2), (0, 1, 2, 3)])
@pytest.mark.parametrize("name", spec_names())
def test_a_restricted_spec_costs_what_its_widths_cost_in_the_original(name: str, places: tuple[int, ...]) -> None:
    spec = load_spec(name)
    nested = [width for width, path in enumerate(spec.paths) if len(set(path)) == 1]
    widths = tuple(nested[place] for place in places)
    restricted = spec.restricted_to(widths)
    assert restricted.name == f"{name}_w{'_'.join(map(str, widths))}"
    assert restricted.gates == ()
    assert (restricted.n_widths, restricted.largest) == (len(widths), len(widths) - 1)
    gates = [layer for layer in spec.layers if layer.name.startswith("gate")]
    for index, width in enumerate(widths):
        assert restricted.macs(index) == spec.macs(width) - sum(gate.macs(width) for gate in gates)
        assert restricted.params(index) == spec.params(width) - sum(gate.params(width) for gate in gates)
    assert SupernetSpec.from_json(restricted.to_json()) == restricted


def test_a_restricted_spec_can_be_restricted_again() -> None:
    twice = MICRO.restricted_to((0, 2, 4)).restricted_to((1,))
    assert replace(twice, name="micro_w2") == MICRO.restricted_to((2,))


@torch.no_grad()
@pytest.mark.parametrize("widths", [(0,), (3,), (1, 4)])
@pytest.mark.parametrize("batch_norm", ["shared affine", "switchable"])
def test_a_restricted_network_answers_as_the_same_widths_of_the_supernet(
    batch_norm: str, widths: tuple[int, ...]
) -> None:
    spec = replace(MICRO, batch_norm=batch_norm)
    supernet, images = initial_supernet(spec, seed=0), normal_images(MICRO, 4)
    restricted = spec.restricted_to(widths)
    cut = Supernet.from_tensors(restricted, restrict_tensors(spec, supernet.tensors(), widths))
    for index, width in enumerate(widths):
        difference = (cut(images, index) - supernet(images, width)).abs().max().item()
        assert difference == 0, f"width {width} differs by {difference}"


def restrict_tensors(
    spec: SupernetSpec, tensors: dict[str, np.ndarray], widths: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Cut a supernet's tensors to `spec.restricted_to(widths)`: prefixes, and the statistics of these widths."""
    restricted = spec.restricted_to(widths)
    originals = {layer.name: layer for layer in spec.layers}
    renamed = {
        f"{layer.name}_bn.statistics.{index}.": f"{layer.name}_bn.statistics.{originals[layer.name].statistics[width]}."
        for layer in restricted.layers
        if layer.statistics is not None
        for index, width in zip(layer.statistics, widths, strict=True)
    }
    cut = {}
    for name, shape in expected_tensors(restricted).items():
        prefix = next((prefix for prefix in renamed if name.startswith(prefix)), "")
        cut[name] = tensors[renamed.get(prefix, "") + name.removeprefix(prefix)][tuple(map(slice, shape))]
    return cut


@pytest.mark.parametrize("widths", [(), (5,), (-1, 0), (2, 1), (1, 1)])
def test_widths_that_a_spec_does_not_have_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(SpecError) as refused:
        MICRO.restricted_to(widths)
    assert f"widths {list(widths)} are not ascending choices of 0…4 of spec 'micro'" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"name": "x"}',
        MICRO.to_json().replace('"stages":[{', '"stages":[0,{'),
        MICRO.to_json().replace('"channels":[4,6]', '"channels":4'),
        MICRO.to_json().replace('"stem"', '"stalk"'),
        MICRO.to_json().replace('"depth":1', '"depth":"one"', 1),
        MICRO.to_json().replace('"dropout":0.2', '"dropout":1' + "0" * 400),
        MICRO.to_json().replace('"mean":[0.5', '"mean":[1' + "0" * 400),
    ],
)
def test_text_that_is_no_spec_is_a_spec_error(text: str) -> None:
    with pytest.raises(SpecError):
        SupernetSpec.from_json(text)


def test_a_spec_loads_from_a_file_and_unknown_names_list_the_valid_ones(tmp_path: Path) -> None:
    path = tmp_path / "micro.json"
    path.write_text(json.dumps(json.loads(MICRO.to_json()), indent=1))
    assert load_spec(str(path)) == MICRO
    with pytest.raises(SpecError, match="ds_mbv1, ds_mbv1_64, ds_mbv1_tiny"):
        load_spec("ds_mbv9")
    with pytest.raises(SpecError, match="no spec file"):
        load_spec(str(tmp_path / "absent.json"))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (bytes(range(128, 256)), "not a supernet spec"),
        (b"[" * 100_000, "not a supernet spec"),
        (b"{}", "missing field 'name', 'resolution'"),
        (b" " * (1 << 20) + b"{}", "a spec has at most 1048576"),
    ],
    ids=["binary", "nested", "empty", "large"],
)
def test_a_file_that_is_no_spec_is_refused_in_one_line(tmp_path: Path, content: bytes, error: str) -> None:
    path = tmp_path / "net.json"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=error):
        load_spec(str(path))
