"""`dsnet calibrate` as a user meets it: what it prints, what lands in the bundle, how it refuses."""

import json

import pytest

from edge.bundle.writer import pack
from edge.cli import main
from tests.calibration.cases import Case


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
    calibrate(case, "--budget", "2ms", "--statistic", "p95")
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
        (["--budget", "0.5ms"], "budget 0.5 ms cannot be met: the cheapest feasible mean is 1 ms (always width 0)"),
        (["--budget", "fast"], "--budget 'fast' is not a latency"),
        (["--budget", "2ms", "--budget", "2.0ms"], "operating point 'mean-2ms' is asked for twice"),
        (["--budget", "2ms", "--name", "a", "--name", "b"], "1 budgets need 1 names, found 2"),
        (["--budget", "2ms", "--name", "../x"], "--name '../x' must be 1 to 64 letters"),
        (["--budget", "2ms", "--statistic", "p50"], "'p50' is not one of 'mean', 'p95'"),
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
