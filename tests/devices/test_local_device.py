import gc
import json
from collections.abc import Iterator, Mapping

import numpy as np

from edge.devices import LocalDevice
from edge.devices.local import LocalWorkload
from edge.devices.timed_policy import timed_nodes
from edge.profiling import Settings, measure
from edge.runtime import Array
from tests.profiling.runs import a_run
from tests.runtime import golden
from tests.runtime.recording import TWO_GATES, RecordingSession, artifact, bright_is_hard, hard_by, net, part


def ticking(step_ns: int) -> Iterator[int]:
    """A clock that advances by the same step each time it is read."""
    now = 0
    while True:
        yield now
        now += step_ns


def counting_prefix(program: str, _: Mapping[str, Array]) -> dict[str, Array]:
    """A prefix whose features differ at every call, and tails that do nothing."""
    if program == "prefix":
        counting_prefix.calls += 1  # type: ignore[attr-defined]
        features = np.full((1, 2, 2, 8), counting_prefix.calls, np.int8)  # type: ignore[attr-defined]
        return {"features": features, "gate_logits": np.zeros((1, 2), np.float32)}
    return {"logits": np.zeros((1, 3), np.float32)}


def watched() -> tuple[RecordingSession, LocalWorkload]:
    counting_prefix.calls = 0  # type: ignore[attr-defined]
    session = RecordingSession(["prefix", "tail_00"], counting_prefix)
    clock = ticking(2_000_000)
    return session, LocalWorkload(session, golden.artifact(), lambda: next(clock))


def test_a_run_is_timed_from_the_first_input_to_the_last_output_in_milliseconds() -> None:
    _, workload = watched()
    assert workload.run_block(("prefix", "tail_00"), 3) == [2.0, 2.0, 2.0]


def test_end_to_end_feeds_the_features_just_made_to_the_tail() -> None:
    session, workload = watched()
    workload.run_block(("prefix", "tail_00"), 2)
    assert session.order == ["prefix", "tail_00", "prefix", "tail_00"]
    fed = [int(inputs["features"][0, 0, 0, 0]) for program, inputs in session.calls if program == "tail_00"]
    assert fed == [1, 2]


def test_a_tail_alone_reads_features_that_the_prefix_really_gives() -> None:
    session, workload = watched()
    workload.run_block(("tail_00",), 2)
    assert session.order == ["prefix", "tail_00", "tail_00"]
    assert int(session.calls[1][1]["features"][0, 0, 0, 0]) == 1


def test_a_program_behind_several_gates_alone_reads_what_those_on_its_path_really_give() -> None:
    session = RecordingSession(["prefix", "stage_1_01", "tail_01_00"], hard_by({}))
    workload = LocalWorkload(session, TWO_GATES)
    for program in ("tail_01_00", "stage_1_01"):
        workload.run_block((program,), 2)
    assert session.order == ["prefix", "stage_1_01", "tail_01_00", "tail_01_00", "stage_1_01", "stage_1_01"]
    assert len(workload.run_block(("prefix", "stage_1_01", "tail_01_00"), 3)) == 3


def test_after_each_program_the_gate_decides_between_the_ways_on_that_are_left() -> None:
    asked = {name: (node.thresholds, node.leaves) for name, node in timed_nodes(TWO_GATES).items()}
    assert asked == {
        "prefix": ([0.0], [0, 1, 2, 3]),
        "stage_1_00": ([0.0], [0, 1]),
        "stage_1_01": ([0.0], [2, 3]),
    }
    assert timed_nodes(artifact(net(0), net(1))) == {}
    assert timed_nodes(artifact(part("prefix", 0), part("stage_1_00", 0), part("tail_00_00", 0)))["prefix"].leaves == [
        0
    ]


def test_opening_runs_nothing_so_the_first_run_timed_is_the_very_first() -> None:
    session, workload = watched()
    assert session.order == []
    workload.run_block(("prefix",), 1)
    assert session.order == ["prefix"]


def test_a_bundle_without_a_gate_is_timed_on_the_image() -> None:
    session = RecordingSession(["net_00"], bright_is_hard)
    workload = LocalWorkload(session, artifact(net(0)))
    assert len(workload.run_block(("net_00",), 4)) == 4
    assert session.calls[0][1]["image"].shape == (1, 8, 8, 3)


def test_the_garbage_collector_is_as_before_after_a_block() -> None:
    seen: list[bool] = []

    def script(*_: object) -> dict[str, Array]:
        seen.append(gc.isenabled())
        return {"logits": np.zeros((1, 3), np.float32)}

    LocalWorkload(RecordingSession(["net_00"], script), artifact(net(0))).run_block(("net_00",), 2)
    assert seen == [False, False]
    assert gc.isenabled()


def test_a_real_bundle_runs_here() -> None:
    with LocalDevice().open(golden.bundle(), golden.artifact(), ["prefix", "tail_01"], 1) as workload:
        samples = workload.run_block(("prefix", "tail_01"), 3)
        assert len(samples) == 3
        assert min(samples) > 0, samples
        assert workload.canary_ms() > 0
        assert "litert" in workload.runtime_version or "tflite" in workload.runtime_version


def test_the_fingerprint_holds_the_facts_a_latency_depends_on() -> None:
    facts = LocalDevice().fingerprint()
    assert {"cpu", "logical_cores", "physical_cores", "governor", "memory_bytes", "os", "kernel", "python"} <= {*facts}
    assert facts["logical_cores"] >= 1
    assert facts["memory_bytes"] > 1 << 20
    assert json.loads(json.dumps(facts)) == facts
    assert LocalDevice().fingerprint() == facts, "it does not change from one run to the next"


def test_a_block_beside_other_work_is_measured_again_after_a_rest() -> None:
    looks, rests = [0], list[float]()

    def clock() -> int:
        """Time that passes three times as slowly from the 1,000th look at it until somebody rests."""
        busy = len(looks) > 1000 and not rests
        looks.append(looks[-1] + (3_000_000 if busy else 1_000_000))
        return looks[-1]

    session = RecordingSession(["prefix"], lambda *_: {"gate_logits": np.zeros((1, 2), np.float32)})
    workload = LocalWorkload(session, golden.artifact(), clock, rests.append)
    fresh = a_run(canary_reference_ms=1.0).model_copy(update={"entries": []})
    run = measure(workload, fresh, [("prefix",)], Settings(min_runs=1000, max_runs=1000), save=lambda _: None)
    assert (run.environment["remeasured_blocks"], len(rests)) == (1, 1)
    assert {sample for block in run.entries[0].blocks_ms for sample in block} == {1.0}
