"""`dsnet diff` as CI meets it: what it prints, how it exits, how it refuses."""

import json
from pathlib import Path

import pytest

from edge.bundle.writer import pack
from edge.cli import main
from edge.diff.cli import CONDITION_FAILED
from tests.diff.releases import Release, write_latency

Captured = pytest.CaptureFixture[str]


def diff(a: Release, b: Release, *options: str) -> int:
    """Run the command on two bundles alone and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["diff", str(a.root), str(b.root), *options])
    return int(ended.value.code or 0)


def diff_measured(a: Release, b: Release, *options: str) -> int:
    """Run the command on two bundles with everything that was measured of them."""
    latency = ("--latency-a", str(a.latency), "--latency-b", str(b.latency))
    predictions = ("--predictions-a", str(a.predictions), "--predictions-b", str(b.predictions))
    return diff(a, b, *latency, *predictions, *options)


def conditions(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--fail-if", text)]


def test_a_change_without_a_condition_is_no_failure(old: Release, worse: Release) -> None:
    assert diff_measured(old, worse) == 0


def test_an_equal_release_passes(old: Release, equal: Release) -> None:
    assert diff_measured(old, equal, *conditions("latency>1%", "accuracy-drop>0.5%", "size>1%", "macs>0%")) == 0


@pytest.mark.parametrize(
    "condition",
    ["latency>5%", "latency>5%:width=1", "latency>5%:point=balanced", "accuracy-drop>1%", "size>9%"],
)
def test_a_worse_release_fails_each_condition_by_itself(old: Release, worse: Release, condition: str) -> None:
    assert diff_measured(old, worse, *conditions(condition)) == CONDITION_FAILED == 3
    assert diff_measured(worse, old, *conditions(condition)) == 0


def test_a_change_that_noise_may_explain_is_named_and_passes(old: Release, worse: Release, capsys: Captured) -> None:
    assert diff_measured(old, worse, *conditions("latency>9.5%:width=0")) == 0
    assert "exceeds, not certain" in capsys.readouterr().out


def test_people_read_every_metric_and_every_condition(
    old: Release, worse: Release, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    diff_measured(old, worse, *conditions("latency>5%", "macs>0%"))
    printed = capsys.readouterr().out
    titles = ("Bytes", "Multiply-accumulates", "Milliseconds", "Top-1 accuracy")
    assert [title for title in titles if title not in printed] == []
    assert "FAILED latency>5%: 4 of 4 beyond it" in printed
    assert "- balanced, litert int8 on local: +9." in printed
    assert "passed macs>0%: 0 of 2 beyond it\n- width 0: +0.00%: within" in printed


def test_programs_read_the_same_as_json(old: Release, worse: Release, capsys: Captured) -> None:
    assert diff_measured(old, worse, "--json", *conditions("size>9%", "macs>0%")) == CONDITION_FAILED
    result = json.loads(capsys.readouterr().out)
    assert (result["failed"], [item["failed"] for item in result["conditions"]]) == (True, [True, False])
    (size,) = [item for item in result["changes"] if item["metric"] == "size"]
    assert (size["a"], size["b"], size["change"]) == (5600, 6160, pytest.approx(0.1))
    assert result["conditions"][0]["judged"][0]["outcome"] == "exceeds, certain"


def test_bundles_may_be_archives(old: Release, worse: Release, tmp_path: Path) -> None:
    archives = [tmp_path / "old.zip", tmp_path / "new.zip"]
    for release, archive in zip((old, worse), archives, strict=True):
        pack(release.root, archive)
    with pytest.raises(SystemExit) as ended:
        main(["diff", *map(str, archives), *conditions("size>9%")])
    assert ended.value.code == CONDITION_FAILED


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (conditions("latency>3%"), "cannot be judged without measurements; give --latency-a and --latency-b"),
        (conditions("accuracy-drop>1%:point=fast"), "give --predictions-a and --predictions-b"),
        (conditions("speed>3%"), "no metric 'speed'; valid: size, macs, latency, accuracy-drop"),
        (conditions("macs>0%:width=9"), "no width 9 to compare; valid: 0, 1"),
        (["--latency-a", "a.json"], "--latency-a needs --latency-b"),
        (["--predictions-b", "b.npz"], "--predictions-b needs --predictions-a"),
        (["--latency-a", "a.json", "--latency-b", "b.json"], "a.json: no such file; dsnet profile writes it"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(
    old: Release, worse: Release, capsys: Captured, options: list[str], message: str
) -> None:
    assert diff(old, worse, *options) == 2
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)
    assert message in captured.err


def test_a_condition_on_points_needs_predictions_too(old: Release, worse: Release, capsys: Captured) -> None:
    tables = ("--latency-a", str(old.latency), "--latency-b", str(worse.latency))
    assert diff(old, worse, *tables, *conditions("latency>3%:point")) == 2
    assert "give --latency-a, --latency-b, --predictions-a and --predictions-b" in capsys.readouterr().err
    assert diff(old, worse, *tables, *conditions("latency>3%")) == CONDITION_FAILED


def test_a_run_too_short_for_an_interval_does_not_pass(old: Release, worse: Release, capsys: Captured) -> None:
    write_latency(worse, slower=2.0, blocks=4)
    assert diff_measured(old, worse, *conditions("latency>3%")) == 2
    assert "cannot be judged: width 0, litert int8 on local: " in capsys.readouterr().err


def test_a_bundle_with_itself_has_no_change(old: Release) -> None:
    assert diff_measured(old, old, *conditions("latency>0%", "accuracy-drop>0%", "size>0%", "macs>0%")) == 0
