"""Timed blocks: how many samples, of what, and what they leave behind. No time itself is tested."""

from pathlib import Path

import pytest

from edge.bundle.reader import Bundle
from tests.native.conversation import Command, answers, converse, images, load
from tests.native.routing import routing_gate

POLICIES = {
    "thresholds": {"kind": "thresholds", "widths": [0, 1], "thresholds": [0.0]},
    "utility": {
        "kind": "utility",
        "widths": [0, 1],
        "weights": [[0.0, 1.0], [1.0, 0.0]],
        "biases": [0.0, 0.0],
        "penalties": [0.0, 0.0],
    },
    "cascade": {"kind": "cascade", "widths": [0, 1], "confidences": [0.5]},
}


@pytest.mark.parametrize("units", [["prefix"], ["tail_01"], ["prefix", "tail_00"]])
@pytest.mark.parametrize("runs", [1, 12])
@pytest.mark.parametrize("policy", [None, *POLICIES], ids=str)
def test_a_block_has_one_positive_time_per_run_whatever_decides(
    runner: Command, first: Bundle, units: list[str], runs: int, policy: str | None
) -> None:
    loads = [load(first, name) for name in ("prefix", "tail_00", "tail_01")]
    block = {"do": "block", "units": units, "runs": runs, "policy": policy and POLICIES[policy]}
    samples = answers(runner, [*loads, block])[-1]["samples_ms"]
    assert len(samples) == runs
    assert min(samples) > 0


def test_a_tail_alone_reads_the_features_of_the_last_prefix_run(runner: Command, first: Bundle, tmp_path: Path) -> None:
    for seed in (0, 1):
        images(first, 1, seed).tofile(tmp_path / f"image_{seed}")
    answers(
        runner,
        [
            *(load(first, name) for name in ("prefix", "tail_01")),
            {"do": "image", "file": str(tmp_path / "image_0")},
            {"do": "block", "units": ["prefix", "tail_01"], "runs": 1},
            {"do": "outputs", "unit": "tail_01", "to": str(tmp_path / "together")},
            {"do": "image", "file": str(tmp_path / "image_1")},
            {"do": "block", "units": ["tail_01"], "runs": 3},
            {"do": "outputs", "unit": "tail_01", "to": str(tmp_path / "alone")},
            {"do": "block", "units": ["prefix"], "runs": 1},
            {"do": "block", "units": ["tail_01"], "runs": 1},
            {"do": "outputs", "unit": "tail_01", "to": str(tmp_path / "other")},
        ],
    )
    assert (tmp_path / "alone").read_bytes() == (tmp_path / "together").read_bytes()
    assert (tmp_path / "other").read_bytes() != (tmp_path / "together").read_bytes()


def test_a_tail_alone_makes_its_features_where_no_prefix_has_run(
    runner: Command, first: Bundle, tmp_path: Path
) -> None:
    loads = [load(first, name) for name in ("prefix", "tail_00")]
    for units, name in ((["tail_00"], "alone"), (["prefix", "tail_00"], "together")):
        block = {"do": "block", "units": units, "runs": 1}
        answers(runner, [*loads, block, {"do": "outputs", "unit": "tail_00", "to": str(tmp_path / name)}])
    assert (tmp_path / "alone").read_bytes() == (tmp_path / "together").read_bytes()


TREE = {
    "kind": "tree",
    "widths": [0, 1, 2],
    "root": {"thresholds": [0.5], "next": [{"thresholds": [0.5], "next": [0, 1]}, 2]},
}


@pytest.mark.parametrize("policy", [None, TREE, {"kind": "thresholds", "widths": [0, 2], "thresholds": [0.5]}])
@pytest.mark.parametrize("units", [["stage_1_00"], ["tail_00_01"], ["prefix", "stage_1_00", "tail_00_01"]], ids=str)
def test_units_of_any_number_follow_one_another(
    runner: Command, two_gates: Bundle, units: list[str], policy: dict[str, object] | None
) -> None:
    loads = [load(two_gates, name, "int8") for name in ("prefix", "stage_1_00", "tail_00_01")]
    samples = answers(runner, [*loads, {"do": "block", "units": units, "runs": 5, "policy": policy}])[-1]["samples_ms"]
    assert (len(samples), min(samples) > 0) == (5, True)


def test_a_tail_alone_makes_its_features_with_all_that_runs_before_it(
    runner: Command, two_gates: Bundle, tmp_path: Path
) -> None:
    names = ["prefix", "stage_1_01", "tail_01_02"]
    loads = [load(two_gates, name) for name in ("prefix", "stage_1_00", *names[1:])]
    for units, name in ((names[2:], "alone"), (names, "together")):
        block = {"do": "block", "units": units, "runs": 1}
        answers(runner, [*loads, block, {"do": "outputs", "unit": names[2], "to": str(tmp_path / name)}])
    assert (tmp_path / "alone").read_bytes() == (tmp_path / "together").read_bytes()


@pytest.mark.parametrize(
    ("units", "reason"),
    [
        (["prefix", "stage_1_00", "tail_01_02"], "unit tail_01_02 reads float32"),
        (["stage_1_00", "prefix"], "a prefix or stage is followed by a stage or tail"),
        (["prefix", "tail_01_02"], "unit tail_01_02 reads float32"),
    ],
)
def test_stages_that_make_no_chain_are_refused(
    runner: Command, two_gates: Bundle, units: list[str], reason: str
) -> None:
    loads = [load(two_gates, name) for name in ("prefix", "stage_1_00", "stage_1_01", "tail_01_02")]
    assert reason in converse(runner, [*loads, {"do": "block", "units": units, "runs": 1}]).error


@pytest.mark.parametrize(
    ("units", "reason"),
    [
        ([], "one unit, or several that follow one another"),
        (["prefix", "tail_00", "tail_01"], "a prefix or stage is followed by a stage or tail, a gate by a net"),
        (["tail_00", "prefix"], "a prefix or stage is followed by a stage or tail, a gate by a net"),
        (["tail_00", "tail_01"], "a prefix or stage is followed by a stage or tail, a gate by a net"),
        (["prefix", "prefix"], "a prefix or stage is followed by a stage or tail, a gate by a net"),
        (["tail_09"], "no unit tail_09 is loaded; loaded: prefix, tail_00, tail_01"),
    ],
)
def test_units_that_make_no_chain_are_refused(runner: Command, first: Bundle, units: list[str], reason: str) -> None:
    loads = [load(first, name) for name in ("prefix", "tail_00", "tail_01")]
    assert reason in converse(runner, [*loads, {"do": "block", "units": units, "runs": 1}]).error


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (
            POLICIES["utility"] | {"weights": [[0.0]] * 2},
            "1 weights for each width, but unit prefix gives 2 gate logits",
        ),
        (POLICIES["thresholds"] | {"thresholds": []}, "2 widths do not go with 0 thresholds"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(
    runner: Command, first: Bundle, policy: dict[str, object], reason: str
) -> None:
    loads = [load(first, name) for name in ("prefix", "tail_00")]
    block = {"do": "block", "units": ["prefix", "tail_00"], "runs": 1, "policy": policy}
    assert reason in converse(runner, [*loads, block]).error


def test_a_tail_without_a_prefix_is_refused(runner: Command, first: Bundle) -> None:
    said = converse(runner, [load(first, "tail_00"), {"do": "block", "units": ["tail_00"], "runs": 1}])
    assert "reads the features of a prefix or stage; load that before it" in said.error


def test_features_of_another_precision_are_refused(runner: Command, first: Bundle) -> None:
    loads = [load(first, "prefix", "int8"), load(first, "tail_00")]
    said = converse(runner, [*loads, {"do": "block", "units": ["prefix", "tail_00"], "runs": 1}])
    assert said.error == (
        "unit tail_00 reads float32 [1, 4, 2, 2], but unit prefix gives int8 [1, 4, 2, 2]; load both from one artifact"
    )


def test_a_net_of_another_image_than_its_gates_is_refused(runner: Command, first: Bundle) -> None:
    gate = routing_gate(4)
    # A tail is as good as a net of small images: one input, one output.
    loads = [gate, load(first, "tail_01", unit="net_01", role="net")]
    said = converse(runner, [*loads, {"do": "block", "units": ["gate", "net_01"], "runs": 1}])
    assert said.error == (
        "unit net_01 reads float32 [1, 4, 2, 2], but unit gate reads float32 [1, 3, 9, 9]; load both from one artifact"
    )


def test_the_canary_and_memory_answer_with_positive_numbers(runner: Command) -> None:
    canary, memory = answers(runner, [{"do": "canary"}, {"do": "memory"}])
    assert canary["canary_ms"] > 0
    assert 0 < memory["file_bytes"] <= memory["resident_bytes"] <= memory["peak_bytes"]
