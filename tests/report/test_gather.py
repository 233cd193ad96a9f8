"""What of a latency table, predictions and operating points gets into a report, and what is said of the rest."""

import dataclasses
from pathlib import Path

import pytest

from edge.bundle import Bundle
from edge.errors import EdgeError
from edge.report.content import Section
from edge.report.gather import Gathered
from edge.runtime import load_predictions, save_predictions
from edge.runtime.decisions import Decision
from tests.calibration.cases import OTHER_SHA256
from tests.report.cases import Files


def gathered(files: Files) -> Gathered:
    return Gathered(files.bundle, files.latency, [files.predictions])


def sections(files: Files) -> dict[str, Section]:
    return {section.run.device: section for section in gathered(files).sections()}


def predicted(files: Files, **changes: object) -> Path:
    """Write other predictions beside the first ones."""
    found = load_predictions(files.predictions)
    path = files.predictions.with_name("other.npz")
    metadata = found.metadata.model_copy(update=changes)
    save_predictions(path, dataclasses.replace(found, metadata=metadata))
    return path


def test_every_run_has_a_section_with_the_points_of_its_device(files: Files) -> None:
    found = {device: [p.point.name for p in section.points] for device, section in sections(files).items()}
    assert found == {"phone": ["balanced-phone"], "tablet": ["balanced-tablet", "quick-tablet"]}


def test_runs_that_are_unfinished_or_of_another_bundle_are_named_with_the_reason(files: Files) -> None:
    files.add_run(device="slow", complete=False)
    files.add_run(device="stranger", artifact_sha256=OTHER_SHA256)
    assert set(sections(files)) == {"phone", "tablet"}
    left_out = gathered(files).left_out()
    assert "slow, litert int8, python runner, 1 thread(s): not complete, dsnet profile --resume goes on with it" in (
        left_out
    )
    assert "stranger, litert int8, python runner, 1 thread(s): of another bundle" in left_out


def test_points_without_a_run_are_named(files: Files) -> None:
    assert "operating point fast: no run of litert int8 on local" in gathered(files).left_out()


def test_burst_and_sustained_speed_have_points_of_their_own(files: Files) -> None:
    files.add_run(device="phone", sustained_seconds=300.0)
    files.add_point("lasting", sustained=True)
    phones = [section for section in gathered(files).sections() if section.run.device == "phone"]
    found = {section.run.sustained_seconds: [p.point.name for p in section.points] for section in phones}
    assert found == {None: ["balanced-phone"], 300.0: ["lasting"]}


def test_held_out_figures_are_shown_for_the_files_that_they_came_from(files: Files) -> None:
    (point,) = sections(files)["phone"].points
    assert (point.accuracy.value, point.mean_ms.value, point.basis) == (0.61, 2.1, "held-out images (400)")


def test_held_out_figures_of_older_measurements_are_not_shown(files: Files) -> None:
    point = files.add_point("old", held_out=files.bundle.operating_point("balanced-phone").held_out)
    files.add_run(device="a later one")
    (old,) = [found for found in sections(files)["phone"].points if found.point.name == point.name]
    assert (old.held_out, old.basis) == (None, "images it was fitted to")
    assert (old.accuracy, old.mean_ms) == (old.evaluation.accuracy, old.evaluation.mean_ms)


def test_a_point_on_other_predictions_is_judged_on_images_it_never_saw(files: Files) -> None:
    other = predicted(files, data="test images")
    (section, _) = Gathered(files.bundle, files.latency, [other]).sections()
    assert [point.basis for point in section.points] == ["images it never saw"]


def test_widths_carry_their_latency_and_accuracy(files: Files) -> None:
    found = load_predictions(files.predictions).hit.mean(axis=0)
    widths = sections(files)["tablet"].widths
    assert [width.accuracy for width in widths] == pytest.approx(found.tolist())
    assert [round(width.latency.mean_ms) for width in widths] == [2, 6]


def test_without_predictions_the_latency_is_still_shown(files: Files) -> None:
    section, _ = Gathered(files.bundle, files.latency, []).sections()
    assert ([width.accuracy for width in section.widths], section.points) == ([None, None], [])
    assert section.left_out == ["balanced-phone: no predictions"]


def test_another_artifacts_predictions_stand_in_where_the_point_was_made_so(files: Files) -> None:
    manifest = files.bundle.manifest
    elsewhere = manifest.artifacts[0].model_copy(update={"runtime": "coreml", "sha256": OTHER_SHA256})
    files.add_run(device="tablet", runtime="coreml", artifact_sha256=OTHER_SHA256)
    made = {"runtime": "coreml", "artifact_sha256": OTHER_SHA256, "stand_in_sha256": manifest.artifacts[0].sha256}
    files.add_point("stands-in", "tablet", **made)
    both = files.bundle.manifest.model_copy(update={"artifacts": [*manifest.artifacts, elsewhere]})
    section = Gathered(Bundle(files.root, both), files.latency, [files.predictions]).sections()[-1]
    assert [point.point.name for point in section.points] == ["stands-in"]
    assert "stand_in" in [warning.code for warning in section.warnings]


def test_warnings_of_the_run_are_kept(files: Files) -> None:
    assert "throttled" in [warning.code for warning in sections(files)["phone"].warnings]


def test_the_front_holds_what_no_other_width_beats(files: Files) -> None:
    section = sections(files)["phone"]
    first, last = section.widths
    worse = dataclasses.replace(last, accuracy=(first.accuracy or 0) - 0.1)
    assert section.front == [first, last]
    assert dataclasses.replace(section, widths=[first, worse]).front == [first]


def test_the_best_single_width_is_the_most_accurate_within_the_latency(files: Files) -> None:
    section = sections(files)["phone"]
    found = [width and width.index for width in map(section.best_width_within, (0.1, 2.0, 9.0))]
    assert found == [None, 0, 1]


def test_predictions_of_another_bundle_are_refused(files: Files) -> None:
    with pytest.raises(EdgeError, match=r"other\.npz: of another bundle"):
        Gathered(files.bundle, files.latency, [predicted(files, artifact_sha256=OTHER_SHA256)])


def test_predictions_whose_decisions_are_not_the_artifacts_are_refused(files: Files) -> None:
    with pytest.raises(EdgeError, match=r"other\.npz: its decisions are not those of litert int8"):
        Gathered(files.bundle, files.latency, [predicted(files, decisions=[Decision(widths=[0, 1], choices=[0, 5])])])


def test_two_files_for_one_artifact_are_refused(files: Files) -> None:
    with pytest.raises(EdgeError, match=r"other\.npz: a second file of predictions of litert int8; give one"):
        Gathered(files.bundle, files.latency, [files.predictions, predicted(files, data="more")])


def test_a_table_without_a_run_of_the_bundle_is_refused_with_the_reasons(files: Files) -> None:
    strangers = files.latency.read_text().replace(files.bundle.artifact().sha256, OTHER_SHA256)
    files.latency.write_text(strangers)
    with pytest.raises(EdgeError, match=r"latency\.json: no run to show: phone, .* of another bundle; .*run dsnet"):
        gathered(files).sections()
