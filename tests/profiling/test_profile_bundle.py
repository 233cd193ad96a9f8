"""The order of actions, on a device with scripted latencies."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edge.devices import FakeDevice
from edge.errors import MeasurementError
from edge.profiling import Run, Settings, load_latency, plan_units, profile_bundle
from edge.profiling.statistics import samples_ms
from tests.runtime import golden
from tests.runtime.recording import SIDE_GATE, artifact, net

UNITS = [("prefix",), ("tail_00",), ("tail_01",), ("prefix", "tail_00"), ("prefix", "tail_01")]
COST = {"prefix": 1.0, "tail_00": 2.0, "tail_01": 3.0}


def cost(unit: tuple[str, ...], _: int = 0) -> float:
    return sum(COST[name] for name in unit)


def noisy(unit: tuple[str, ...], number: int) -> float:
    return cost(unit) * random.Random(f"{unit} {number}").uniform(0.5, 1.5)


def slow_at_first(unit: tuple[str, ...], number: int) -> float:
    return cost(unit) * (100 if number == 0 else max(1, 12 - number))


def profile(out: Path, device: FakeDevice, **options: Any) -> Run:
    settings = Settings(**{"min_runs": 30, **options.pop("settings", {})})
    return profile_bundle(
        golden.bundle(), golden.artifact(), device, out, settings=settings, seconds=device.seconds, **options
    )


def blocks(device: FakeDevice) -> list[tuple[str, ...]]:
    """Units of the timed blocks, in order: 10 runs and one lead-in."""
    return [action[2:] for action in device.log if action[:2] == ("run", "11")]


def test_units_are_every_program_alone_and_every_width_end_to_end() -> None:
    assert plan_units(golden.artifact()) == UNITS
    assert plan_units(golden.artifact(), [1]) == [("prefix",), ("tail_01",), ("prefix", "tail_01")]
    assert plan_units(artifact(SIDE_GATE, net(0))) == [("gate",), ("net_00",), ("gate", "net_00")]
    assert plan_units(artifact(net(0), net(1))) == [("net_00",), ("net_01",)]


def test_only_the_programs_of_the_units_are_loaded(tmp_path: Path) -> None:
    device = FakeDevice(cost)
    profile(tmp_path / "l.json", device, widths=[1])
    assert device.log[0] == ("open", "prefix", "tail_01")


def test_the_order_is_open_warm_blocks_with_a_canary_after_each_close(tmp_path: Path) -> None:
    device = FakeDevice(cost)
    profile(tmp_path / "l.json", device)
    kinds = [action[0] for action in device.log]
    warm_up = [action[2:] for action in device.log if action[:2] == ("run", "5")]
    assert warm_up == [unit for unit in UNITS for _ in range(2)], "two equal batches per unit are steady"
    assert kinds[:11] == ["open"] + ["run"] * 10
    assert kinds[11:16] == ["canary"] * 5, "the canary's reference"
    assert kinds[16:-1] == ["run", "canary"] * 15, "three blocks of ten for each of five units"
    assert kinds[-1] == "close"


def test_every_round_runs_all_units_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    device = FakeDevice(cost)
    profile(tmp_path / "l.json", device)
    rounds = [blocks(device)[start : start + 5] for start in (0, 5, 10)]
    assert all(sorted(order) == sorted(UNITS) for order in rounds), rounds
    assert len({tuple(order) for order in rounds}) > 1, rounds


def test_the_seed_determines_the_order(tmp_path: Path) -> None:
    orders = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        device = FakeDevice(cost)
        profile(tmp_path / name, device, settings={"seed": seed})
        orders.append(blocks(device))
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_warm_up_goes_on_until_times_are_steady_and_is_not_in_the_samples(tmp_path: Path) -> None:
    run = profile(tmp_path / "l.json", FakeDevice(slow_at_first))
    for entry in run.entries:
        unit = tuple(entry.programs)
        assert entry.first_run_ms == 100 * cost(unit)
        assert entry.warm_up_runs == 20, "runs 0-10 get faster; the third batch and the fourth are alike"
        assert set(samples_ms(entry)) == {cost(unit)}


def test_warm_up_that_never_settles_ends_and_is_warned_about(tmp_path: Path) -> None:
    def growing(unit: tuple[str, ...], number: int) -> float:
        return cost(unit) * 1.02**number

    run = profile(tmp_path / "l.json", FakeDevice(growing), settings={"max_runs": 30})
    assert {entry.warm_up_runs for entry in run.entries} == {50}
    assert "warm_up_not_steady" in [warning.code for warning in run.warnings]


def test_steady_units_stop_at_the_minimum(tmp_path: Path) -> None:
    run = profile(tmp_path / "l.json", FakeDevice(lambda unit, _: cost(unit)), settings={"min_runs": 30})
    assert {len(samples_ms(entry)) for entry in run.entries} == {30}


def test_one_noisy_unit_keeps_every_unit_going_so_that_each_has_a_block_in_every_round(tmp_path: Path) -> None:
    def tail_01_is_noisy(unit: tuple[str, ...], number: int) -> float:
        return noisy(unit, number) if unit == ("tail_01",) else cost(unit)

    settings = {"min_runs": 30, "max_runs": 100, "ci": 0.001}
    run = profile(tmp_path / "l.json", FakeDevice(tail_01_is_noisy), settings=settings)
    assert {len(samples_ms(entry)) for entry in run.entries} == {100}
    (warning,) = [warning for warning in run.warnings if warning.code == "ci_not_reached"]
    assert warning.message.endswith("±0.1%: tail_01")


def test_a_looser_interval_needs_fewer_runs(tmp_path: Path) -> None:
    counts = []
    for ci in (0.05, 0.2):
        run = profile(tmp_path / f"{ci}", FakeDevice(noisy), settings={"ci": ci})
        counts.append(sum(len(samples_ms(entry)) for entry in run.entries))
    assert counts[0] > counts[1], counts


def test_block_order_gives_each_block_its_place_in_time(tmp_path: Path) -> None:
    device = FakeDevice(cost)
    run = profile(tmp_path / "l.json", device)
    placed = {place: tuple(entry.programs) for entry in run.entries for place in entry.block_order}
    assert [placed[place] for place in range(15)] == blocks(device)


def test_every_block_is_on_disk_before_the_next_begins(tmp_path: Path) -> None:
    out, seen = tmp_path / "l.json", list[int]()

    def on_block(_: Run) -> None:
        seen.append(sum(len(entry.blocks_ms) for entry in load_latency(out).runs[0].entries))

    profile(out, FakeDevice(cost), on_block=on_block)
    assert seen == [*range(16), 15], "after the warm-up, after each block, and once more with the warnings"


class Interrupted(FakeDevice):
    """A device whose user presses Ctrl-C during a block."""

    def __init__(self, at_block: int) -> None:
        super().__init__(noisy)
        self._left = at_block

    def run_block(self, programs: Any, runs: int) -> list[float]:
        if runs == 11:
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt
        return super().run_block(programs, runs)


def test_ctrl_c_keeps_the_finished_blocks_and_closes_the_device(tmp_path: Path) -> None:
    out, device = tmp_path / "l.json", Interrupted(at_block=7)
    with pytest.raises(KeyboardInterrupt):
        profile(out, device)
    assert device.log[-1] == ("close",)
    (run,) = load_latency(out).runs
    assert sum(len(entry.blocks_ms) for entry in run.entries) == 7
    assert not run.complete


def test_an_interrupted_run_continues_where_it_stopped(tmp_path: Path) -> None:
    options = {"settings": {"max_runs": 50}}
    whole = FakeDevice(noisy)
    profile(tmp_path / "whole.json", whole, **options)
    out, first, second = tmp_path / "l.json", Interrupted(at_block=7), FakeDevice(noisy)
    with pytest.raises(KeyboardInterrupt):
        profile(out, first, **options)
    (before,) = load_latency(out).runs
    after = profile(out, second, **options)
    assert blocks(first) + blocks(second) == blocks(whole)
    assert ("run", "5", "prefix") in second.log, "a new process is warmed up again"
    assert after.complete
    for old, new in zip(before.entries, after.entries, strict=True):
        assert new.blocks_ms[: len(old.blocks_ms)] == old.blocks_ms
        assert new.first_run_ms == old.first_run_ms


def test_other_settings_do_not_continue_an_unfinished_run_but_restart_does(tmp_path: Path) -> None:
    out = tmp_path / "l.json"
    with pytest.raises(KeyboardInterrupt):
        profile(out, Interrupted(at_block=3))
    with pytest.raises(MeasurementError, match=r"unfinished run with other settings; .* or --restart to start over"):
        profile(out, FakeDevice(cost), settings={"ci": 0.5})
    with pytest.raises(MeasurementError, match="unfinished run with other units"):
        profile(out, FakeDevice(cost), widths=[0])
    run = profile(out, FakeDevice(cost), settings={"ci": 0.5}, restart=True)
    assert {len(samples_ms(entry)) for entry in run.entries} == {30}
    assert load_latency(out).runs == [run]


def test_a_run_replaces_its_like_and_leaves_the_others(tmp_path: Path) -> None:
    out = tmp_path / "l.json"
    profile(out, FakeDevice(cost))
    profile(out, FakeDevice(cost), threads=2)
    profile(out, FakeDevice(lambda *_: 7.0))
    found = [(run.threads, run.entries[0].blocks_ms[0][0]) for run in load_latency(out).runs]
    assert found == [(1, 7.0), (2, 1.0)]


def test_a_burst_and_sustained_speeds_are_runs_of_their_own(tmp_path: Path) -> None:
    out = tmp_path / "l.json"
    for seconds in (None, 0.5, 1.0, 0.5):
        profile(out, FakeDevice(cost), settings={"sustained_seconds": seconds})
    assert [run.sustained_seconds for run in load_latency(out).runs] == [None, 0.5, 1.0]


def test_an_unfinished_burst_is_not_continued_as_a_sustained_run(tmp_path: Path) -> None:
    out = tmp_path / "l.json"
    with pytest.raises(KeyboardInterrupt):
        profile(out, Interrupted(at_block=7))
    assert profile(out, FakeDevice(cost), settings={"sustained_seconds": 0.5}).complete
    assert [(run.sustained_seconds, run.complete) for run in load_latency(out).runs] == [(None, False), (0.5, True)]


def test_a_spent_budget_ends_the_run(tmp_path: Path) -> None:
    settings = {"budget_seconds": 3.0, "ci": 0.0001}
    run = profile(tmp_path / "l.json", FakeDevice(noisy), settings=settings)
    assert run.complete, "every unit has its minimum of runs"
    assert "ci_not_reached" in [warning.code for warning in run.warnings]
    assert 30 <= min(len(samples_ms(entry)) for entry in run.entries) < 1000


def test_a_budget_that_ends_before_the_minimum_leaves_the_run_to_be_continued(tmp_path: Path) -> None:
    out = tmp_path / "l.json"
    run = profile(out, FakeDevice(cost), settings={"budget_seconds": 0.3})
    assert not run.complete
    assert profile(out, FakeDevice(cost)).complete


def test_the_record_says_what_was_measured_where_and_how(tmp_path: Path) -> None:
    out = tmp_path / "l.json"
    run = profile(out, FakeDevice(cost), threads=3, settings={"seed": 5})
    assert (run.device, run.runtime, run.precision, run.threads, run.seed) == ("fake", "litert", "int8", 3, 5)
    assert run.artifact_sha256 == golden.artifact().sha256
    assert run.environment["cpu"] == "fake"
    assert run.environment["runtime_version"] == "fake 1.0"
    assert run.environment["settings"]["ci"] == 0.02
    assert json.loads(out.read_text())["format"] == "dsnet-latency/1"


class TurnTaking(FakeDevice):
    """A device whose units can take turns; an image is slower when the one before went to another width."""

    takes_turns = True

    def __init__(self) -> None:
        super().__init__(lambda unit, _: cost(unit))
        self._last: tuple[str, ...] | None = None

    def run_block(self, programs: Sequence[str], runs: int) -> list[float]:
        changed = 0.0 if self._last == tuple(programs) else 0.5
        self._last = tuple(programs)
        first, *others = super().run_block(programs, runs)
        return [first + changed, *others]


def test_whole_images_take_turns_once_a_round_and_are_slower_then(tmp_path: Path) -> None:
    run = profile(tmp_path / "l.json", TurnTaking())
    for entry in run.entries:
        unit = tuple(entry.programs)
        assert {sample for block in entry.blocks_ms for sample in block} == {cost(unit)}
        turns = [sample for block in entry.turns_ms for sample in block]
        if len(unit) == 1:
            assert turns == []
        else:
            assert [len(block) for block in entry.turns_ms] == [10] * len(entry.blocks_ms)
            assert set(turns) <= {cost(unit), cost(unit) + 0.5} and len(turns) * 0.8 > turns.count(cost(unit))


def test_an_interrupted_run_goes_on_with_its_turns(tmp_path: Path) -> None:
    whole = profile(tmp_path / "whole.json", TurnTaking())
    out = tmp_path / "l.json"
    profile(out, TurnTaking(), settings={"budget_seconds": 0.4})
    resumed = profile(out, TurnTaking())
    assert [len(entry.turns_ms) for entry in resumed.entries] == [len(entry.turns_ms) for entry in whole.entries]
