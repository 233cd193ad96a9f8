from pathlib import Path

import numpy as np
import pytest

from edge.bundle.manifest import Manifest
from edge.errors import BundleError
from edge.runtime import ImageError, LiteRtSession, Predictions, Preprocessing, open_labelled, predict_images
from edge.runtime.decisions import Decision
from tests.runtime import golden
from tests.runtime.pictures import CLASSES, write_pictures
from tests.runtime.recording import RecordingSession, artifact, bright_is_hard, net

PROGRAMS = ["prefix", "tail_00", "tail_01"]


def predict(folder: Path, **options) -> Predictions:  # type: ignore[no-untyped-def]
    session = LiteRtSession(golden.content(), golden.artifact(), PROGRAMS)
    images = open_labelled(folder, CLASSES)
    return predict_images(session, golden.bundle().manifest, golden.artifact(), images, **options)


def without_gate() -> Manifest:
    return golden.bundle().manifest.model_copy(update={"gates": []})


def test_every_image_gets_the_answers_of_every_width(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "set")
    found = predict(folder)
    session = LiteRtSession(golden.content(), golden.artifact(), PROGRAMS)
    preprocessing = Preprocessing.of(golden.bundle().manifest.model, "litert")
    assert found.label.tolist() == [0, 0, 1, 1, 2, 2]
    for row, sample in enumerate(open_labelled(folder, CLASSES)):
        prefix = session.run("prefix", {"image": preprocessing(sample.data, sample.name)})
        assert found.gate_logits[row].tolist() == prefix["gate_logits"][0].tolist()
        for width in (0, 1):
            logits = session.run(f"tail_{width:02d}", {"features": prefix["features"]})["logits"][0].astype(np.float64)
            loss = np.log(np.exp(logits).sum()) - logits[found.label[row]]
            assert found.loss[row, width] == pytest.approx(loss, rel=1e-6, abs=1e-9)
            chance = np.exp(logits).max() / np.exp(logits).sum()
            assert found.confidence[row, width] == pytest.approx(chance, rel=1e-6)
            assert found.hit[row, width] == (logits.argmax() == found.label[row])


def test_the_metadata_names_bundle_and_data(tmp_path: Path) -> None:
    metadata = predict(write_pictures(tmp_path / "set")).metadata
    assert metadata.artifact_sha256 == golden.artifact().sha256
    assert (metadata.widths, metadata.decisions, metadata.data) == (
        [0, 1],
        [Decision(widths=[0, 1], choices=[0, 1])],
        "set",
    )


def test_the_data_digest_follows_contents_names_and_labels(tmp_path: Path) -> None:
    def digest(folder: Path) -> str:
        return predict(folder).metadata.data_sha256

    first = digest(write_pictures(tmp_path / "a"))
    assert digest(write_pictures(tmp_path / "b")) == first, "where the set lies does not matter"
    renamed = write_pictures(tmp_path / "c")
    (renamed / "circle" / "1.png").rename(renamed / "circle" / "2.png")
    changed = write_pictures(tmp_path / "d")
    (changed / "circle" / "1.png").write_bytes((changed / "circle" / "0.png").read_bytes())
    moved = write_pictures(tmp_path / "e")
    (moved / "circle" / "1.png").rename(moved / "square" / "2.png")
    assert len({first, digest(renamed), digest(changed), digest(moved)}) == 4


def test_a_bad_image_stops_by_name_unless_it_may_be_skipped(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "set")
    (folder / "circle" / "0.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"circle/0\.png is not an image"):
        predict(folder)
    skipped: list[ImageError] = []
    found = predict(folder, skipped=skipped.append)
    assert found.label.tolist() == [0, 1, 1, 2, 2]
    assert [str(error) for error in skipped] == ["circle/0.png is not an image that Pillow can read"]


def test_a_set_without_one_good_image_is_refused(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "set", per_class=1)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(ImageError, match="none of the 3 images in set could be read"):
        predict(folder, skipped=lambda _: None)


def test_progress_counts_every_image(tmp_path: Path) -> None:
    steps: list[None] = []
    predict(write_pictures(tmp_path / "set"), progress=lambda: steps.append(None))
    assert len(steps) == 6


def test_a_bundle_without_a_gate_has_no_gate_logits(tmp_path: Path) -> None:
    images = open_labelled(write_pictures(tmp_path / "set"), CLASSES)
    session = RecordingSession(["net_00", "net_02"], bright_is_hard)
    found = predict_images(session, without_gate(), artifact(net(2), net(0)), images)
    assert found.gate_logits.shape == (6, 0)
    assert found.metadata.widths == [0, 2]
    assert found.hit.tolist() == [[True, False]] * 2 + [[False, False]] * 2 + [[False, True]] * 2


def test_logits_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    images = open_labelled(write_pictures(tmp_path / "set"), CLASSES)
    session = RecordingSession(["net_00"], lambda *_: {"logits": np.array([[0, np.nan, 0]], np.float32)})
    with pytest.raises(BundleError, match="net_00 answered a logit that is not a finite number"):
        predict_images(session, without_gate(), artifact(net(0)), images)
