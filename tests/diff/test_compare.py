"""What two releases with known differences are found to differ in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.bundle.manifest import Estimate, HeldOut
from edge.calibration import evaluate_point
from edge.diff import Change, Difference, Evidence, Subject, diff_bundles, gather
from edge.errors import CalibrationError, MeasurementError
from edge.profiling.latency_table import FORMAT, LatencyTable, QualityWarning, load_latency, save_latency
from edge.runtime.predictions import load_predictions
from tests.calibration.cases import entry_of
from tests.diff.releases import BLOCKS, Release, change_manifest, write_latency, write_predictions

ONE_RUN = (
    "latency of litert int8 on local: one run of each side: what differs from run to run is in no interval; "
    "3 of each tell"
)


def bare(release: Release) -> Evidence:
    """Return a release of which nothing was measured."""
    return gather(release.bundle)


def change_of(found: Difference, metric: str, **subject: object) -> Change:
    """Return the one change of a metric whose subject has the given fields."""
    (change,) = [
        change
        for change in found.changes
        if change.metric == metric and all(getattr(change.subject, name) == value for name, value in subject.items())
    ]
    return change


def holds(change: Change, value: float) -> bool:
    assert change.interval is not None, change
    return change.interval.low <= value <= change.interval.high


def test_a_bundle_does_not_differ_from_itself(old: Release) -> None:
    found = diff_bundles(old.evidence, old.evidence)
    assert {change.change for change in found.changes} == {0.0}
    assert all(holds(change, 0) for change in found.changes), found.changes
    assert (found.not_compared, found.removed, found.added, found.circumstances) == ([], [], [], [ONE_RUN])


def test_every_figure_is_compared_once(old: Release, equal: Release) -> None:
    found = diff_bundles(old.evidence, equal.evidence)
    assert [(item.metric, str(item.subject), item.basis) for item in found.changes] == [
        ("size", "litert int8", "exact"),
        ("macs", "width 0", "exact"),
        ("macs", "width 1", "exact"),
        ("latency", "width 0, litert int8 on local", "measured"),
        ("latency", "width 1, litert int8 on local", "measured"),
        ("accuracy", "width 0, litert int8", "measured"),
        ("accuracy", "width 1, litert int8", "measured"),
        ("accuracy", "fast, litert int8", "measured"),
        ("latency", "fast, litert int8 on local", "measured"),
        ("accuracy", "balanced, litert int8", "measured"),
        ("latency", "balanced, litert int8 on local", "measured"),
    ]
    assert found.not_compared == []


def test_a_release_that_was_measured_anew_shows_no_change_beyond_uncertainty(old: Release, equal: Release) -> None:
    found = diff_bundles(old.evidence, equal.evidence)
    measured = [change for change in found.changes if change.basis == "measured"]
    assert [change for change in measured if not holds(change, 0)] == []
    assert change_of(found, "size").change == pytest.approx(8 / 5600)


def test_a_worse_release_shows_by_how_much(old: Release, worse: Release) -> None:
    found = diff_bundles(old.evidence, worse.evidence)
    assert change_of(found, "size").change == pytest.approx(0.1)
    for subject in ({"width": 0}, {"width": 1}, {"point": "fast"}, {"point": "balanced"}):
        slower = change_of(found, "latency", **subject)
        assert holds(slower, 0.1) and not holds(slower, 0.05), slower
        lost = change_of(found, "accuracy", **subject)
        assert holds(lost, -0.05 * lost.a) and not holds(lost, 0), lost


def test_an_operating_point_does_what_its_evaluation_says(old: Release, worse: Release) -> None:
    found = diff_bundles(old.evidence, worse.evidence)
    for release, side in ((old, "a"), (worse, "b")):
        predictions, table = load_predictions(release.predictions), load_latency(release.latency)
        for point in release.bundle.manifest.operating_points:
            evaluation = evaluate_point(point, predictions, table, release.bundle)
            assert getattr(change_of(found, "accuracy", point=point.name), side) == evaluation.accuracy.value
            mean_ms = getattr(change_of(found, "latency", point=point.name), side)
            assert mean_ms == pytest.approx(evaluation.mean_ms.value)


def test_the_same_images_are_compared_pair_by_pair_and_other_ones_are_not(old: Release, worse: Release) -> None:
    same = change_of(diff_bundles(old.evidence, worse.evidence), "accuracy", width=1)
    write_predictions(worse, lost=0.05, data_sha256="b" * 64)
    found = diff_bundles(old.evidence, worse.evidence)
    other = change_of(found, "accuracy", width=1)
    assert same.interval is not None and other.interval is not None
    assert other.interval.high - other.interval.low > 2 * (same.interval.high - same.interval.low), (same, other)
    assert found.circumstances == [
        ONE_RUN,
        "predictions of litert int8: other images, 4000 of images (aaaaaaaaaaaa…) → 4000 of images (bbbbbbbbbbbb…)",
    ]


def repeated(release: Release, levels: tuple[float, ...]) -> Evidence:
    """Return a release with a run for each level of speed."""
    tables = []
    for number, level in enumerate(levels):
        path = release.latency.with_name(f"latency_{number}.json")
        write_latency(replace(release, latency=path), level, repeat=number + 1)
        tables.append(path)
    return gather(release.bundle, tables, [release.predictions])


def test_runs_that_differ_among_themselves_make_a_change_uncertain_that_one_run_takes_for_certain(
    old: Release, equal: Release
) -> None:
    one = diff_bundles(repeated(old, (0.96,)), repeated(equal, (1.04,)))
    several = diff_bundles(repeated(old, (0.96, 1.0, 1.04)), repeated(equal, (1.04, 1.0, 0.96)))
    for subject in ({"width": 1}, {"point": "balanced"}):
        assert not holds(change_of(one, "latency", **subject), 0), one
        assert holds(change_of(several, "latency", **subject), 0), several
    assert several.circumstances == []


def test_without_measurements_there_is_what_the_bundles_say(old: Release, worse: Release) -> None:
    found = diff_bundles(bare(old), bare(worse))
    assert {(change.metric, change.basis) for change in found.changes} == {
        ("size", "exact"), ("macs", "exact"), ("latency", "calibration"), ("accuracy", "calibration"),
    }  # fmt: skip
    recorded = [change for change in found.changes if change.basis == "calibration"]
    assert {change.interval for change in recorded} == {None}


def test_what_points_record_of_held_out_images_has_an_interval(old: Release, equal: Release) -> None:
    for release, top1, mean_ms in ((old, 0.70, 2.0), (equal, 0.68, 2.2)):
        held_out = HeldOut(
            images=400,
            folds=5,
            accuracy=Estimate(value=top1, low=top1 - 0.03, high=top1 + 0.03),
            mean_ms=Estimate(value=mean_ms, low=mean_ms * 0.98, high=mean_ms * 1.02),
            limits=[Estimate(value=mean_ms, low=mean_ms * 0.98, high=mean_ms * 1.02)],
        )
        (fast, balanced) = release.bundle.manifest.operating_points
        change_manifest(release, operating_points=[fast, balanced.model_copy(update={"held_out": held_out})])
    found = diff_bundles(bare(old), bare(equal))
    accuracy, latency = (change_of(found, metric, point="balanced") for metric in ("accuracy", "latency"))
    assert (accuracy.basis, latency.basis) == ("held out", "held out")
    assert (accuracy.change, latency.change) == pytest.approx((-0.02, 0.1))
    assert holds(accuracy, 0) and not holds(accuracy, -0.07), accuracy
    assert holds(latency, 0.1) and not holds(latency, 0), latency
    assert change_of(found, "latency", point="fast").basis == "calibration"


def test_tables_without_predictions_measure_widths_alone_and_predictions_without_tables_accuracy_alone(
    old: Release, equal: Release
) -> None:
    timed = diff_bundles(*(gather(side.bundle, [side.latency]) for side in (old, equal)))
    assert change_of(timed, "latency", width=1).basis == "measured"
    assert change_of(timed, "latency", point="fast").basis == "calibration"
    seen = diff_bundles(*(gather(side.bundle, [], [side.predictions]) for side in (old, equal)))
    assert change_of(seen, "accuracy", point="fast").basis == "measured"
    assert change_of(seen, "latency", point="fast").basis == "calibration"
    assert [change for change in seen.changes if change.metric == "latency" and change.subject.width] == []


def test_what_only_one_release_has_is_named(old: Release, equal: Release) -> None:
    fast, balanced = equal.bundle.manifest.operating_points
    change_manifest(equal, operating_points=[fast, balanced.model_copy(update={"name": "careful"})])
    write_latency(equal, device="tablet")
    found = diff_bundles(old.evidence, equal.evidence)
    assert found.removed == ["operating point balanced (litert int8)", "latency of litert int8 on local"]
    assert found.added == ["operating point careful (litert int8)", "latency of litert int8 on tablet"]
    (missing,) = found.not_compared
    assert (str(missing.subject), missing.metric) == ("fast, litert int8 on local", "latency")
    assert missing.reason.endswith("on local was given")


def test_a_width_without_enough_blocks_or_without_times_is_not_compared_and_says_why(
    old: Release, equal: Release
) -> None:
    write_latency(old, blocks=4)
    run = load_latency(equal.latency).runs[0]
    kept = [entry for entry in run.entries if "tail_01" not in entry.programs]
    save_latency(equal.latency, LatencyTable(format=FORMAT, runs=[run.model_copy(update={"entries": kept})]))
    reasons = {str(item.subject): item.reason for item in diff_bundles(old.evidence, equal.evidence).not_compared}
    assert "4 blocks; a ratio needs 5 of each" in reasons["width 0, litert int8 on local"]
    assert reasons["width 1, litert int8 on local"].startswith("not measured in B; run dsnet profile")
    assert "no times of width 1" in reasons["balanced, litert int8 on local"]


def test_circumstances_that_may_explain_a_change_are_named(old: Release, equal: Release) -> None:
    write_latency(old, environment={"governor": "performance"})
    warning = QualityWarning(code="throttled", message="slow", remedy="rest")
    write_latency(equal, environment={"governor": "powersave"}, warnings=[warning])
    model = equal.bundle.manifest.model
    fast, balanced = equal.bundle.manifest.operating_points
    loose = balanced.limits[0].model_copy(update={"value": 3.0})
    change_manifest(
        equal,
        model=model.model_copy(update={"classes": ["a", "b", "c"]}),
        operating_points=[fast, balanced.model_copy(update={"limits": [loose]})],
    )
    assert diff_bundles(old.evidence, equal.evidence).circumstances == [
        "model: other classes",
        "operating point balanced: limits mean ≤ 2 ms → mean ≤ 3 ms",
        "latency of litert int8 on local: governor performance → powersave",
        "latency of litert int8 on local: B has warnings: throttled",
        ONE_RUN,
    ]


def test_a_point_for_another_device_has_no_change_of_latency(old: Release, equal: Release) -> None:
    fast, balanced = equal.bundle.manifest.operating_points
    change_manifest(equal, operating_points=[fast, balanced.model_copy(update={"device": "tablet"})])
    for sides in ((old.evidence, equal.evidence), (bare(old), bare(equal))):
        (missing,) = diff_bundles(*sides).not_compared
        assert (missing.subject.point, missing.reason) == ("balanced", "A's is for local, B's for tablet")


def test_a_point_whose_thresholds_are_of_another_bundle_is_compared_as_recorded_and_named(
    old: Release, equal: Release
) -> None:
    fast, balanced = equal.bundle.manifest.operating_points
    stale = balanced.model_copy(update={"artifact_sha256": "e" * 64})
    change_manifest(equal, operating_points=[fast, stale])
    found = diff_bundles(old.evidence, equal.evidence)
    assert change_of(found, "accuracy", point="balanced").basis == "calibration"
    assert found.circumstances == [
        "operating point balanced: B's is of another bundle; run dsnet calibrate again",
        ONE_RUN,
    ]


def test_a_stale_point_is_not_measured_by_the_predictions_of_its_stand_in_either(old: Release, equal: Release) -> None:
    fast, balanced = equal.bundle.manifest.operating_points
    known = balanced.artifact_sha256
    stale = balanced.model_copy(update={"artifact_sha256": "e" * 64, "stand_in_sha256": known})
    change_manifest(equal, operating_points=[fast, stale])
    found = diff_bundles(old.evidence, equal.evidence)
    assert change_of(found, "accuracy", point="balanced").basis == "calibration"
    change_manifest(equal, operating_points=[fast, balanced.model_copy(update={"stand_in_sha256": known})])
    found = diff_bundles(old.evidence, equal.evidence)
    assert change_of(found, "accuracy", point="balanced").basis == "measured"
    assert "operating point balanced: accuracy by another artifact no → yes" in found.circumstances


def test_a_cascade_runs_on_where_it_is_unsure_and_pays_for_what_ran_before(old: Release, equal: Release) -> None:
    for release in (old, equal):
        fast, balanced = release.bundle.manifest.operating_points
        cascade = {**balanced.model_dump(), "policy": {"kind": "cascade", "widths": [0, 1], "confidences": [0.6]}}
        change_manifest(release, operating_points=[fast, type(balanced).model_validate(cascade)])
        run = load_latency(release.latency).runs[0]
        further = entry_of(["tail_01"], [[2.0] * 10] * BLOCKS)
        entries = [further if item.programs == further.programs else item for item in run.entries]
        save_latency(release.latency, LatencyTable(format=FORMAT, runs=[run.model_copy(update={"entries": entries})]))
    predictions = load_predictions(old.predictions)
    unsure = predictions.confidence[:, 0] < 0.6
    assert 0 < unsure.mean() < 1
    found = diff_bundles(old.evidence, equal.evidence)
    accuracy, latency = (change_of(found, metric, point="balanced") for metric in ("accuracy", "latency"))
    assert accuracy.a == np.where(unsure, predictions.hit[:, 1], predictions.hit[:, 0]).mean()
    assert latency.a == pytest.approx(1 + 2 * unsure.mean(), rel=0.01)
    assert holds(latency, 0), latency


def test_sustained_speed_is_not_compared_with_a_burst(old: Release, equal: Release) -> None:
    write_latency(equal, sustained_seconds=60.0)
    found = diff_bundles(old.evidence, equal.evidence)
    assert found.added == ["latency of litert int8 on local, sustained"]
    assert [change for change in found.changes if change.metric == "latency"] == []


# What is refused before anything is compared.


def refusal(release: Release, latency: list[Path], predictions: list[Path]) -> str:
    with pytest.raises((CalibrationError, MeasurementError)) as error:
        gather(release.bundle, latency, predictions)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_measurements_of_another_bundle_are_refused(old: Release, equal: Release) -> None:
    assert "run dsnet profile again with that bundle" in refusal(old, [equal.latency], [])
    assert "run dsnet predict again with that bundle" in refusal(old, [], [equal.predictions])


def test_predictions_of_another_gate_are_refused(old: Release) -> None:
    write_predictions(old, decisions=[{"widths": [0, 1], "choices": [0, 2]}])
    assert "run dsnet predict again with that bundle" in refusal(old, [], [old.predictions])


def test_an_unfinished_run_is_refused(old: Release) -> None:
    write_latency(old, complete=False)
    assert refusal(old, [old.latency], []).endswith(
        "the run of litert int8 on local is not complete; run dsnet profile again to resume it"
    )


def test_a_second_measurement_of_the_same_is_refused(old: Release) -> None:
    assert "the run of litert int8 on local was given twice" in refusal(old, [old.latency] * 2, [])
    assert "a second file for litert int8" in refusal(old, [], [old.predictions] * 2)


def test_times_that_no_device_takes_are_refused(old: Release) -> None:
    run = load_latency(old.latency).runs[0]
    absurd = run.entries[1].model_copy(update={"blocks_ms": [[1e300]] * 30})
    save_latency(old.latency, LatencyTable(format=FORMAT, runs=[run.model_copy(update={"entries": [absurd]})]))
    assert "has a time above 1e+12 ms" in refusal(old, [old.latency], [])


def test_a_subject_reads_as_people_say_it() -> None:
    assert str(Subject("litert int8", width=3, device="phone, 4 threads")) == "width 3, litert int8 on phone, 4 threads"
    assert str(Subject("executorch int8", part="store")) == "executorch int8 store"
