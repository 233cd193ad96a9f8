"""Operating points from files of a bundle, and their judgement on images they never saw."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge import calibration
from edge.calibration import (
    Selection,
    calibration_warnings,
    choose,
    evaluate_point,
    find_run,
    load_inputs,
    operating_point,
    parse_budget,
    score,
)
from edge.calibration.inputs import end_to_end_samples
from edge.errors import BundleError, CalibrationError
from edge.profiling.latency_table import FORMAT, LatencyTable, load_latency, save_latency
from edge.runtime.predictions import Predictions, load_predictions, save_predictions
from edge.runtime.route import Route
from tests.calibration.cases import OTHER_SHA256, Case, entry_of, predictions_of, run_of
from tests.runtime import golden
from tests.runtime.recording import SIDE_GATE, artifact, net

ROUTE = Route.of(golden.artifact())


def write_runs(case: Case, *changes: dict[str, object]) -> None:
    """Replace the latency table by one run per set of changes."""
    runs = [run_of(case.bundle, {0: [[1.0]], 1: [[3.0]]}, **change) for change in changes]
    save_latency(case.latency, LatencyTable(format=FORMAT, runs=runs))


def without_decisions(found: Predictions) -> Predictions:
    metadata = found.metadata.model_copy(update={"decisions": []})
    return replace(found, metadata=metadata, gate_logits=found.gate_logits[:, :0])


def refusal(case: Case, selection: Selection | None = None) -> str:
    with pytest.raises((CalibrationError, BundleError)) as error:
        load_inputs(case.bundle, case.latency, case.predictions, selection)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_point_keeps_the_mean_within_the_budget_and_beats_the_narrow_width(case: Case) -> None:
    inputs = load_inputs(case.bundle, case.latency, case.predictions)
    point = operating_point(inputs, parse_budget("2ms"))
    assert point.widths == [0, 1]
    assert 1.9 < point.expected_mean_ms <= 2.0
    assert point.calibration_accuracy > inputs.predictions.hit[:, 0].mean() + 0.1
    assert point.optimality_gap == 0


def test_a_point_names_the_artifact_and_files_it_came_from(case: Case) -> None:
    inputs = load_inputs(case.bundle, case.latency, case.predictions)
    point = operating_point(inputs, parse_budget("2ms"), "quick")
    assert (point.name, point.device, point.threads) == ("quick", "phone", 1)
    assert point.artifact_sha256 == case.bundle.artifact().sha256
    assert (point.latency_sha256, point.predictions_sha256) == (inputs.latency_sha256, inputs.predictions_sha256)


def test_all_blocks_of_the_end_to_end_samples_count_and_nothing_else(case: Case) -> None:
    run = load_inputs(case.bundle, case.latency, case.predictions).run
    samples = end_to_end_samples(run, ROUTE, [0, 1])
    assert [values.tolist() for values in samples] == [[0.9, 1.0, 1.1, 1.0], [2.9, 3.0, 3.1, 3.0]]


def test_turns_count_where_widths_change_and_not_where_one_answers_all(case: Case) -> None:
    entries = [
        entry_of(["prefix", f"tail_{width:02d}"], [[ms]]).model_copy(update={"turns_ms": [[1.5 * ms]]})
        for width, ms in ((0, 1.0), (1, 2.0))
    ]
    write_runs(case, {"entries": entries})
    inputs = load_inputs(case.bundle, case.latency, case.predictions)
    found = calibration.Case.of(inputs.run, inputs.predictions, inputs.route, inputs.macs)
    assert [option.samples.tolist() for option in found.choices()] == [[1.0, 1.5], [2.0, 3.0]]
    assert [found.single(width).samples.tolist() for width in (0, 1)] == [[1.0], [2.0]]


def test_samples_of_a_side_gate_count_too(case: Case) -> None:
    entries = [entry_of(["gate", f"net_{width:02d}"], [[float(width + 5)]]) for width in (0, 1)]
    write_runs(case, {"entries": entries})
    run = load_inputs(case.bundle, case.latency, case.predictions).run
    assert [
        values.tolist() for values in end_to_end_samples(run, Route.of(artifact(SIDE_GATE, net(0), net(1))), [0, 1])
    ] == [
        [5],
        [6],
    ]


def test_a_p95_budget_between_two_widths_allows_the_wide_one_for_five_percent_of_images(case: Case) -> None:
    point = operating_point(load_inputs(case.bundle, case.latency, case.predictions), parse_budget("p95<=2ms"))
    assert {share.width: share.share for share in point.shares}[1] == pytest.approx(0.05)
    assert point.limits[0].expected <= 2 < point.expected_mean_ms + 1


def test_thresholds_survive_the_manifest_and_route_images_as_counted(case: Case) -> None:
    inputs = load_inputs(case.bundle, case.latency, case.predictions)
    point = operating_point(inputs, parse_budget("2ms"))
    read = type(point).model_validate_json(point.model_dump_json())
    position = choose(score(inputs.predictions.gate_logits), read.policy.thresholds)
    assert (np.bincount(position) / len(position)).tolist() == [share.share for share in point.shares]


def test_evaluation_on_the_calibration_images_repeats_the_points_own_numbers(case: Case) -> None:
    inputs = load_inputs(case.bundle, case.latency, case.predictions)
    point = operating_point(inputs, parse_budget("2ms"))
    found = evaluate_point(point, inputs.predictions, load_latency(case.latency), case.bundle)
    assert (found.shares, found.accuracy.value) == (point.shares, point.calibration_accuracy)
    assert (found.mean_ms.value, found.limits[0].value) == pytest.approx(
        (point.expected_mean_ms, point.limits[0].expected)
    )


def test_evaluation_on_unseen_images_counts_their_own_hits(case: Case) -> None:
    point = operating_point(load_inputs(case.bundle, case.latency, case.predictions), parse_budget("2ms"))
    unseen = predictions_of(case.bundle, images=1000, seed=1)
    found = evaluate_point(point, unseen, load_latency(case.latency), case.bundle)
    wide = score(unseen.gate_logits) > point.policy.thresholds[0]
    assert found.images == 1000
    assert found.accuracy.value == pytest.approx(np.where(wide, unseen.hit[:, 1], unseen.hit[:, 0]).mean())
    assert found.mean_ms.value == pytest.approx(1 + 2 * wide.mean())


def test_evaluation_refuses_predictions_of_another_bundle(case: Case) -> None:
    point = operating_point(load_inputs(case.bundle, case.latency, case.predictions), parse_budget("2ms"))
    stranger = predictions_of(case.bundle, artifact_sha256=OTHER_SHA256)
    with pytest.raises(CalibrationError, match="but the predictions are of ffffffffffff"):
        evaluate_point(point, stranger, load_latency(case.latency), case.bundle)


def test_evaluation_refuses_predictions_without_the_decisions_of_the_artifact(case: Case) -> None:
    inputs = load_inputs(case.bundle, case.latency, case.predictions)
    point = operating_point(inputs, parse_budget("2ms"))
    with pytest.raises(
        CalibrationError, match=r"decisions are not those of litert int8 in .*; run dsnet predict again"
    ):
        evaluate_point(point, without_decisions(inputs.predictions), load_latency(case.latency), case.bundle)


def test_predictions_of_another_bundle_are_refused_with_the_command_to_run_again(case: Case) -> None:
    save_predictions(case.predictions, predictions_of(case.bundle, artifact_sha256=OTHER_SHA256))
    assert "predictions.npz: of another bundle" in refusal(case)
    assert refusal(case).endswith("run dsnet predict again")


def test_latencies_of_another_bundle_are_refused_with_the_command_to_run_again(case: Case) -> None:
    write_runs(case, {"artifact_sha256": OTHER_SHA256})
    assert "latency.json: of another bundle" in refusal(case)
    assert refusal(case).endswith("run dsnet profile again")


def test_a_table_of_another_precision_is_refused_with_what_there_is(case: Case) -> None:
    write_runs(case, {"precision": "wi8"})
    assert "no run of litert int8; valid: litert wi8 on phone 1 threads" in refusal(case)


def test_two_runs_that_fit_need_a_choice(case: Case) -> None:
    write_runs(case, {}, {"threads": 4})
    assert "several runs fit; choose with --device, --threads and --runner" in refusal(case)
    assert load_inputs(case.bundle, case.latency, case.predictions, Selection(threads=4)).run.threads == 4


def test_a_run_of_a_bundle_converted_before_does_not_stand_in_the_way(case: Case) -> None:
    write_runs(case, {"artifact_sha256": OTHER_SHA256}, {})
    inputs = load_inputs(case.bundle, case.latency, case.predictions)
    assert inputs.run.artifact_sha256 == case.bundle.artifact().sha256
    point = operating_point(inputs, parse_budget("2ms"))
    assert evaluate_point(point, inputs.predictions, load_latency(case.latency), case.bundle).images == 400


def test_an_incomplete_run_is_refused(case: Case) -> None:
    write_runs(case, {"complete": False})
    assert "the run of litert int8 is not complete; run dsnet profile again to resume it" in refusal(case)


def test_a_run_without_samples_of_a_width_is_refused(case: Case) -> None:
    write_runs(case, {"entries": [entry_of(["prefix", "tail_00"], [[1.0]])]})
    run = load_inputs(case.bundle, case.latency, case.predictions).run
    with pytest.raises(CalibrationError, match="no end-to-end samples of widths 1; run dsnet profile again"):
        end_to_end_samples(run, ROUTE, [0, 1])


def test_a_precision_the_bundle_does_not_have_is_refused_with_what_there_is(case: Case) -> None:
    assert "no litert wi8 artifact; the bundle has: litert int8" in refusal(case, Selection(precision="wi8"))


def test_a_tree_of_one_gate_is_refused_since_thresholds_are_that(case: Case) -> None:
    inputs = load_inputs(case.bundle, case.latency, case.predictions)
    with pytest.raises(CalibrationError, match=r"one gate, .*; valid here: --policy thresholds, utility, cascade$"):
        operating_point(inputs, parse_budget("2ms"), kind="tree")


def test_predictions_without_gate_logits_leave_a_cascade_only(case: Case) -> None:
    whole = [entry_of(["prefix", f"tail_{width:02d}"], [[1.0 + 2 * width]]) for width in (0, 1)]
    entries = [entry_of(["tail_01"], [[1.5]]), *whole]
    write_runs(case, {"entries": entries})
    gateless = without_decisions(predictions_of(case.bundle))
    inputs = replace(load_inputs(case.bundle, case.latency, case.predictions), predictions=gateless)
    with pytest.raises(CalibrationError, match=r"no gate logits, .* valid here: --policy cascade"):
        operating_point(inputs, parse_budget("2ms"))
    assert operating_point(inputs, parse_budget("2ms"), kind="cascade").policy.widths == [0, 1]


def test_sustained_speed_is_used_only_when_asked_for(case: Case) -> None:
    write_runs(case, {}, {"sustained_seconds": 300.0})
    burst, sustained = (
        load_inputs(case.bundle, case.latency, case.predictions, Selection(sustained=wanted)).run
        for wanted in (False, True)
    )
    assert (burst.sustained_seconds, sustained.sustained_seconds) == (None, 300.0)


def test_a_gate_that_says_the_same_of_most_images_is_warned_about(case: Case) -> None:
    found = predictions_of(case.bundle)
    found.gate_logits[: len(found.label) * 2 // 3] = 0
    save_predictions(case.predictions, found)
    inputs = load_inputs(case.bundle, case.latency, case.predictions)
    assert "one_score" in [warning.code for warning in calibration_warnings(inputs)]


def test_an_empty_table_says_what_to_run() -> None:
    with pytest.raises(CalibrationError, match="valid: none, run dsnet profile"):
        find_run(LatencyTable(format=FORMAT, runs=[]), Selection())


def test_few_images_few_scores_and_few_samples_are_warned_about(case: Case) -> None:
    few = predictions_of(case.bundle, images=50)
    few.gate_logits[:] = few.gate_logits.round()
    save_predictions(case.predictions, few)
    inputs = load_inputs(case.bundle, case.latency, case.predictions)
    codes = [warning.code for warning in calibration_warnings(inputs, [parse_budget("p95<=2ms")])]
    assert codes == ["few_images", "few_scores", "few_samples"]


def test_a_good_calibration_set_is_not_warned_about(case: Case) -> None:
    assert calibration_warnings(load_inputs(case.bundle, case.latency, case.predictions), [parse_budget("2ms")]) == []


def test_missing_files_say_which_command_writes_them(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"absent\.npz: no such file; dsnet predict writes it"):
        load_predictions(tmp_path / "absent.npz")
