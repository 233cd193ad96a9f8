import pytest

from edge.profiling import Entry, Run, quality_warnings

STEADY = [[1.0, 1.001, 0.999] * 4] * 6


def run(blocks: list[list[float]], first_run_ms: float = 1.0, canary: list[float] | None = None) -> Run:
    entry = Entry(
        programs=["prefix", "tail_00"],
        first_run_ms=first_run_ms,
        warm_up_runs=10,
        blocks_ms=blocks,
        block_order=list(range(len(blocks))),
    )
    return Run(
        device="fake", environment={"canary_reference_ms": 1.0, "canary_ms": canary or [1.0] * len(blocks)},
        runtime="litert", precision="int8", threads=1, artifact_sha256="0" * 64, seed=0, entries=[entry], complete=True,
    )  # fmt: skip


def codes(measured: Run) -> list[str]:
    return [warning.code for warning in quality_warnings(measured, ci=0.02)]


def test_steady_samples_raise_no_warning() -> None:
    assert codes(run(STEADY)) == []


@pytest.mark.parametrize(
    ("measured", "code"),
    [
        (run([[1.0, 1.5, 2.0, 0.7]] * 3), "ci_not_reached"),
        (run(STEADY, canary=[1.0, 1.0, 1.2, 1.3, 1.3, 1.3]), "throttled"),
        (run([*STEADY[:3], *[[1.1] * 12] * 3]), "drift"),
        (run([[*block[:-1], 1.5] for block in STEADY]), "outliers"),
        (run(STEADY, first_run_ms=3.0), "slow_first_run"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_reason_to_doubt_has_its_warning_with_a_remedy(measured: Run, code: str) -> None:
    found = {warning.code: warning for warning in quality_warnings(measured, ci=0.02)}
    assert code in found, list(found)
    assert found[code].remedy
    assert code == "throttled" or "prefix + tail_00" in found[code].message


def test_many_blocks_measured_again_are_told_though_none_of_the_slow_ones_is_kept() -> None:
    disturbed = run(STEADY, canary=[1.0] * 6)
    environment = {**disturbed.environment, "remeasured_blocks": 4}
    (warning,) = quality_warnings(disturbed.model_copy(update={"environment": environment}), 0.02)
    assert (warning.code, "4 of these blocks were measured again" in warning.message) == ("throttled", True)


def test_a_canary_slow_once_in_a_while_is_no_throttling() -> None:
    assert codes(run(STEADY * 3, canary=[1.0] * 17 + [2.0])) == []


def test_units_without_a_block_are_not_judged() -> None:
    assert codes(run([])) == []
