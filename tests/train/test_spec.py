"""A spec is data: it reads back equal, knows its costs, and is refused with every problem named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.train.networks import MICRO
from train import GateSpec, SpecError, StageSpec, SupernetSpec, load_spec
from train.spec import spec_names


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
def test_cost_grows_with_the_width(name: str) -> None:
    spec = load_spec(name)
    macs = [spec.macs(width) for width in range(spec.largest + 1)]
    assert macs == sorted(set(macs))


def test_the_largest_network_is_the_widest_where_nothing_else_widens() -> None:
    plain = replace(MICRO, stem=StageSpec((4,), 1, 1), stages=(StageSpec((4,), 1, 2), *MICRO.stages[1:]))
    assert plain.largest == plain.n_widths - 1
    assert MICRO.largest == MICRO.n_widths


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "resnet"}, "family 'resnet' is unknown"),
        ({"activation": "gelu"}, "valid: silu, relu, relu6, hardswish"),
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
        ({"stem": StageSpec((4, 6, 8), 1, 1)}, "stem has 3 channel counts; before the gate, 1 or 2 are valid"),
        ({"stages": tuple(replace(stage, depth=100) for stage in MICRO.stages)}, "more than 256 blocks"),
        ({"gate": GateSpec(stage=3, choices=(0,))}, "gate stage 3 is not within 0…2"),
        ({"gate": GateSpec(stage=2, choices=(0,))}, "stage 1 has 5 channel counts; before the gate, 1 or 2 are valid"),
        ({"gate": GateSpec(stage=1, choices=(2, 0))}, "gate choices [2, 0] must be ascending widths within 0…4"),
        ({"gate": GateSpec(stage=1, choices=(0, 5))}, "gate choices [0, 5]"),
        ({"gate": GateSpec(stage=1, choices=())}, "gate choices []"),
    ],
)  # fmt: skip
def test_a_spec_out_of_range_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        replace(MICRO, **changes)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_problems_are_reported_together() -> None:
    with pytest.raises(SpecError, match=r"activation.*resolution.*classes"):
        replace(MICRO, activation="gelu", resolution=1, classes=0)


def test_a_gated_spec_of_three_widths_refuses_a_stem_of_three_in_one_line() -> None:
    stages = (StageSpec((4, 8), 1, 1), StageSpec((4, 6, 8), 1, 2))
    with pytest.raises(SpecError, match="stem has 3 channel counts; before the gate, 1 or 2") as caught:
        SupernetSpec("three", 8, 3, StageSpec((4, 6, 8), 1, 1), stages, GateSpec(1, (0, 2)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"name": "x"}',
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
        (b"{}", "field 'stem' is missing"),
        (b" " * (1 << 20) + b"{}", "a spec has at most 1048576"),
    ],
    ids=["binary", "nested", "empty", "large"],
)
def test_a_file_that_is_no_spec_is_refused_in_one_line(tmp_path: Path, content: bytes, error: str) -> None:
    path = tmp_path / "net.json"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=error):
        load_spec(str(path))
