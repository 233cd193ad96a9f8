"""What a width costs: multiply-accumulates of the spec, or the medians of a latency table that profiling wrote."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.profiling import LatencyTable, save_latency
from edge.profiling.latency_table import FORMAT
from tests.train.networks import MICRO
from train import ConfigError, SideGateSpec
from train.costs import CostTarget, latency_target, mac_target

Samples = dict[tuple[str, ...], list[list[float]]]

PREFIX_AND_TAILS: Samples = {
    ("prefix",): [[1.0, 9.0], [1.0]],
    ("tail_00",): [[1.0], [3.0, 2.0]],
    ("tail_02",): [[4.0, 4.0]],
    ("tail_04",): [[6.0], [], [8.0]],
}
"""Medians 1, 2, 4 and 7 ms: an image costs 3, 5 and 8 ms at the choices of MICRO's gate."""


def run(entries: Samples = PREFIX_AND_TAILS, **changes: Any) -> dict[str, Any]:
    """Return one run of a latency table: samples in blocks by programs."""
    timed = [
        {
            "programs": list(programs),
            "first_run_ms": 20.0,
            "warm_up_runs": 3,
            "blocks_ms": blocks,
            "block_order": list(range(len(blocks))),
        }
        for programs, blocks in entries.items()
    ]
    one = {
        "device": "phone",
        "environment": {},
        "runtime": "litert",
        "precision": "int8",
        "threads": 1,
        "artifact_sha256": "0" * 64,
        "seed": 0,
        "entries": timed,
        "complete": True,
    }
    return one | changes


def table(folder: Path, *runs: dict[str, Any]) -> Path:
    path = folder / "latency.json"
    save_latency(path, LatencyTable.model_validate({"format": FORMAT, "runs": list(runs)}))
    return path


def refusal(path: Path, target_ms: float = 5.0, **choice: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        latency_target(MICRO, path, target_ms, **choice)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_width_costs_its_multiply_accumulates() -> None:
    macs = tuple(float(MICRO.macs(width)) for width in (0, 2, 4))
    assert mac_target(MICRO, macs[1]) == CostTarget(macs, macs[1], "MACs")


def test_a_width_costs_the_median_of_the_prefix_and_that_of_its_tail(tmp_path: Path) -> None:
    target = latency_target(MICRO, table(tmp_path, run()), 5.0)
    assert target == CostTarget((3.0, 5.0, 8.0), 5.0, "ms")


def test_a_width_measured_end_to_end_costs_that(tmp_path: Path) -> None:
    both: Samples = {**PREFIX_AND_TAILS, ("prefix", "tail_02"): [[4.25, 4.5], [4.75]], ("prefix", "tail_04"): [[]]}
    assert latency_target(MICRO, table(tmp_path, run(both)), 5.0).costs == (3.0, 4.5, 8.0)


@pytest.mark.parametrize(
    ("choice", "narrowest_ms"),
    [
        ({"device": "tablet"}, 12.0),
        ({"device": "phone", "precision": "wi8"}, 22.0),
        ({"threads": 4}, 32.0),
        ({"device": "phone", "precision": "int8", "threads": 1}, 3.0),
    ],
)
def test_device_precision_and_threads_choose_the_run(
    tmp_path: Path, choice: dict[str, Any], narrowest_ms: float
) -> None:
    def slower(by: float, **changes: Any) -> dict[str, Any]:
        return run({**PREFIX_AND_TAILS, ("prefix",): [[by]]}, **changes)

    path = table(tmp_path, run(), slower(10.0, device="tablet"), slower(20.0, precision="wi8"), slower(30.0, threads=4))
    assert latency_target(MICRO, path, narrowest_ms, **choice).costs[0] == narrowest_ms


def test_several_runs_that_fit_are_listed_with_the_flags_that_choose(tmp_path: Path) -> None:
    message = refusal(table(tmp_path, run(), run(precision="wi8"), run(device="tablet", threads=4)), device="phone")
    assert "has 2 runs that fit, one is needed" in message
    assert "phone int8 1 thread(s); phone wi8 1 thread(s); tablet int8 4 thread(s)" in message
    assert message.endswith("choose with --device, --latency-precision, --latency-threads")


def test_a_device_that_was_not_measured_is_refused_by_what_was(tmp_path: Path) -> None:
    message = refusal(table(tmp_path, run()), device="watch")
    assert "has 0 runs that fit" in message
    assert "phone int8 1 thread(s)" in message


@pytest.mark.parametrize("missing", [("prefix",), ("tail_02",)])
def test_a_width_that_was_not_measured_is_named(tmp_path: Path, missing: tuple[str, ...]) -> None:
    empty: Samples = {**PREFIX_AND_TAILS, missing: [[]]}
    absent: Samples = {key: blocks for key, blocks in PREFIX_AND_TAILS.items() if key != missing}
    for entries in (empty, absent):
        message = refusal(table(tmp_path, run(entries)))
        assert f"no samples of prefix and {'tail_00' if missing == ('prefix',) else 'tail_02'} in phone" in message


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("", "is no latency table"),
        ("weights", "is no latency table"),
        ("[1]", "is no latency table"),
        ("[" * 100_000, "is no latency table"),
        (json.dumps({"format": FORMAT, "runs": []}), "is no latency table"),
        (json.dumps({"format": FORMAT, "runs": [run({("prefix",): [[float("nan")]]})]}), "is no latency table"),
        (json.dumps({"format": FORMAT, "runs": [run({("prefix",): [[1.0]]})]}).replace("1.0", "1e999"), "is no"),
        (json.dumps({"format": FORMAT, "runs": [run({("prefix",): [[-1.0]]})]}), "is no latency table"),
        (json.dumps({"format": "dsnet-latency/2", "runs": [run()]}), "has format 'dsnet-latency/2', expected"),
    ],
)
def test_a_file_that_is_no_latency_table_is_refused_in_one_line(tmp_path: Path, content: str, fragment: str) -> None:
    path = tmp_path / "latency.json"
    path.write_text(content)
    assert f"{path} {fragment}" in refusal(path)


def test_a_missing_file_and_a_folder_are_refused_in_one_line(tmp_path: Path) -> None:
    assert "is no latency table" in refusal(tmp_path / "absent.json")
    assert "is no latency table" in refusal(tmp_path)


def test_a_table_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path, run())
    monkeypatch.setattr("train.costs.MAX_LATENCY_BYTES", path.stat().st_size)
    assert latency_target(MICRO, path, 5.0).unit == "ms"
    monkeypatch.setattr("train.costs.MAX_LATENCY_BYTES", path.stat().st_size - 1)
    assert "is larger than" in refusal(path)


def test_with_a_side_gate_a_width_costs_the_gate_and_its_net(tmp_path: Path) -> None:
    spec = replace(MICRO, gates=(), side_gate=SideGateSpec((0, 4), 8, (2,)))
    timed: Samples = {("gate",): [[0.5]], ("net_00",): [[2.0]], ("net_04",): [[6.0]], ("gate", "net_04"): [[6.25]]}
    assert latency_target(spec, table(tmp_path, run(timed)), 5.0).costs == (2.5, 6.25)


def test_a_table_from_before_the_side_gate_counts_the_nets_alone(tmp_path: Path) -> None:
    spec = replace(MICRO, gates=(), side_gate=SideGateSpec((0, 4), 8, (2,)))
    timed: Samples = {("net_00",): [[2.0]], ("net_04",): [[6.0]]}
    assert latency_target(spec, table(tmp_path, run(timed)), 5.0).costs == (2.0, 6.0)
    with pytest.raises(ConfigError, match="has no samples of gate and net_04 in phone int8 1 thread"):
        latency_target(spec, table(tmp_path, run({("net_00",): [[2.0]]})), 1.0)


@pytest.mark.parametrize("target_ms", [2.9, 8.1, float("nan"), float("inf")])
def test_a_target_out_of_reach_is_refused_by_what_is_in_reach(tmp_path: Path, target_ms: float) -> None:
    message = refusal(table(tmp_path, run()), target_ms)
    assert "out of reach: the gate's widths cost 3 … 8 ms" in message


def test_multiply_accumulates_out_of_reach_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"target of 1 MACs per image is out of reach.*choose a value between"):
        mac_target(MICRO, 1.0)


def test_a_network_without_a_gate_has_nothing_to_aim_with(tmp_path: Path) -> None:
    gateless = replace(MICRO, gates=())
    with pytest.raises(ConfigError, match="no gate to train"):
        mac_target(gateless, 1.0)
    with pytest.raises(ConfigError, match="no gate to train"):
        latency_target(gateless, table(tmp_path, run()), 5.0)
