"""`dsnet calibrate` as a user meets it: what it prints, what lands in the bundle, how it refuses."""

import json
from dataclasses import replace

import pytest

from edge.bundle.writer import pack
from edge.cli import main
from edge.runtime.predictions import save_predictions
from tests.calibration.cases import Case, predictions_of


def calibrate(case: Case, *arguments: str) -> int:
    """Run the command and return its exit status."""
    files = ["--latency", str(case.latency), "--predictions", str(case.predictions)]
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", str(case.root), *files, *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_operating_points_land_in_the_bundle_under_the_budgets_names(case: Case) -> None:
    assert calibrate(case, "--budget", "2ms", "--budget", "1.5ms") == 0
    points = {point.name: point for point in case.bundle.manifest.operating_points}
    assert points["mean-2ms"].expected_mean_ms <= 2
    assert points["mean-1.5ms"].expected_mean_ms <= 1.5


def test_calibrating_again_replaces_the_point_of_the_same_name(case: Case) -> None:
    calibrate(case, "--budget", "2ms", "--name", "quick")
    before = len(case.bundle.manifest.operating_points)
    calibrate(case, "--budget", "1.5ms", "--name", "quick")
    points = case.bundle.manifest.operating_points
    assert (len(points), [p.limits[0].value for p in points if p.name == "quick"]) == (before, [1.5])


def test_people_read_a_table_with_share_accuracy_and_gap(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    calibrate(case, "--budget", "p95<=2ms")
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("p95-2ms", "accuracy", "gap", "share", "5.0%"))


def test_programs_read_the_same_points_as_json(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    calibrate(case, "--budget", "2ms", "--json")
    (point,) = json.loads(capsys.readouterr().out)["operating_points"]
    assert point == case.bundle.operating_point("mean-2ms").model_dump(mode="json")


def test_an_archive_is_refused_before_anything_else_is_read(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    pack(case.root, case.root.with_suffix(".zip"))
    case.latency.unlink()
    archived = Case(case.root.with_suffix(".zip"), case.latency, case.predictions)
    assert calibrate(archived, "--budget", "2ms") == 2
    assert "bundle.zip: only a bundle in a folder can be changed" in capsys.readouterr().err


def test_missing_inputs_and_folders_are_told_apart(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    absent = Case(case.root, case.latency.with_name("absent"), case.predictions)
    assert calibrate(absent, "--budget", "2ms") == 2
    assert "absent: no such file; dsnet profile writes it" in capsys.readouterr().err
    assert calibrate(Case(case.root, case.root, case.predictions), "--budget", "2ms") == 2
    assert "bundle: a folder; give the path of a file" in capsys.readouterr().err
    assert calibrate(Case(case.root, case.latency, case.root), "--budget", "2ms") == 2
    assert "bundle: a folder; give the .npz file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "0.5ms"], "a mean of 0.5 ms cannot be met: the cheapest feasible is 1 ms (always width 0)"),
        (["--budget", "fast"], "--budget 'fast' is not understood"),
        (["--budget", "2ms", "--budget", "2.0ms"], "operating point 'mean-2ms' is asked for twice"),
        (["--budget", "2ms", "--name", "a", "--name", "b"], "1 budgets need 1 names, found 2"),
        (["--budget", "2ms", "--name", "../x"], "--name '../x' must be 1 to 64 letters"),
        (
            ["--budget", "images/s>=2000"],
            "the most feasible is 1000 images/s (always width 0); lower it to at most 1000",
        ),
        (["--budget", "accuracy>=99.9%"], "cannot be kept: even with the best width for each image it is"),
        (
            ["--budget", "2ms", "--policy", "dice"],
            "unknown policy 'dice'; valid for --policy: thresholds, tree, utility",
        ),
        (["--budget", "2ms", "--confidence", "95"], "--confidence 95 must be at least 0.5 and below 1"),
        ([], "give either --budget, such as 8ms, or --sweep with a number of budgets"),
        (["--budget", "2ms", "--sweep", "3"], "give either --budget"),
        (["--budget", "2ms", "--device", "tablet"], "no run of litert int8 on tablet; valid: litert int8 on phone"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_and_leaves_the_bundle_alone(
    case: Case, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = case.bundle.manifest
    assert calibrate(case, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert case.bundle.manifest == before


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ([], "predictions.npz: its decisions are not those of litert int8 in"),
        ([[0], [1]], "predictions.npz: the first decision is of widths 0; all of 0, 1 come through it"),
    ],
)
def test_predictions_without_the_decisions_of_the_bundle_are_refused_in_one_line(
    case: Case,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    decisions: list[list[int]],
    message: str,
) -> None:
    found = predictions_of(case.bundle, decisions=[{"widths": widths, "choices": [0]} for widths in decisions])
    with monkeypatch.context() as unchecked:
        unchecked.setattr("edge.runtime.predictions.decision_problem", lambda *_: None)
        save_predictions(case.predictions, replace(found, gate_logits=found.gate_logits[:, : len(decisions)]))
    assert calibrate(case, "--budget", "2ms") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_sweep_gives_points_from_the_cheapest_width_to_the_dearest(case: Case) -> None:
    assert calibrate(case, "--sweep", "3") == 0
    points = {point.name: point for point in case.bundle.manifest.operating_points}
    assert [points[f"mean-{ms}ms"].widths for ms in (1, 2)] == [[0], [0, 1]]
    assert points["mean-3ms"].calibration_accuracy > points["mean-2ms"].calibration_accuracy


def test_policies_are_compared_on_the_same_held_out_images(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate(case, "--budget", "2ms", "--compare", "--json") == 0
    (comparison,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert list(comparison["policies"]) == ["single width", "thresholds", "utility", "cascade"]
    accuracy = {kind: held_out["accuracy"]["value"] for kind, held_out in comparison["policies"].items()}
    assert accuracy["thresholds"] > accuracy["single width"] + 0.05, accuracy


def test_another_policy_lands_in_the_bundle_and_says_when_each_width_answers(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(case, "--budget", "2ms", "--policy", "utility", "--compare") == 0
    assert case.bundle.operating_point("mean-2ms").policy.kind == "utility"
    printed = capsys.readouterr().out
    assert "chance" in printed and "Policies for mean-2ms, on held-out images" in printed


def test_a_promise_is_recorded_with_the_point(case: Case) -> None:
    assert calibrate(case, "--budget", "2ms", "--confidence", "0.95") == 0
    point = case.bundle.operating_point("mean-2ms")
    assert (point.confidence, point.held_out.folds) == (0.95, 1)  # type: ignore[union-attr]
    assert point.expected_mean_ms < 2
