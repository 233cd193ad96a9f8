"""The predictions file: what is written is read back, and nothing else is believed."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import CalibrationError
from edge.runtime.decisions import Decision
from edge.runtime.predictions import FORMAT, Metadata, Predictions, load_predictions, save_predictions

N, WIDTHS = 5, [0, 1, 2]
DECISIONS = [Decision(widths=WIDTHS, choices=[0, 2])]
ARRAYS = ("gate_logits", "hit", "loss", "confidence", "label")


def example(**changes: Any) -> Predictions:
    random = np.random.default_rng(0)
    metadata = Metadata(
        format=FORMAT,
        runtime="litert",
        precision="int8",
        artifact_sha256="0" * 64,
        widths=WIDTHS,
        decisions=DECISIONS,
        data="images",
        data_sha256="1" * 64,
    )
    arrays: dict[str, Any] = {
        "gate_logits": random.standard_normal((N, 2)).astype(np.float32),
        "hit": random.random((N, len(WIDTHS))) < 0.5,
        "loss": random.random((N, len(WIDTHS))).astype(np.float32),
        "confidence": (1 - random.random((N, len(WIDTHS)))).astype(np.float32),
        "label": np.arange(N, dtype=np.int32),
    }
    return replace(Predictions(metadata, **arrays), **changes)


def members(**changes: bytes | None) -> dict[str, bytes]:
    """Return the members of a good file, some of them replaced or, by None, left out."""
    good = example()
    arrays = {name: getattr(good, name) for name in ARRAYS}
    arrays["metadata"] = np.frombuffer(good.metadata.model_dump_json().encode(), np.uint8)
    found = {f"{name}.npy": npy(array) for name, array in arrays.items()}
    found.update({f"{name}.npy": data for name, data in changes.items() if data is not None})
    return {name: data for name, data in found.items() if changes.get(name.removesuffix(".npy"), b"") is not None}


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def metadata_with(**changes: object) -> bytes:
    changed = example().metadata.model_copy(update=changes)
    return npy(np.frombuffer(changed.model_dump_json().encode(), np.uint8))


def decision(widths: list[int]) -> Decision:
    return Decision(widths=widths, choices=[0, 2])


def write(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_predictions(tmp_path / "p.npz", example())
    read = load_predictions(tmp_path / "p.npz")
    assert read.metadata == example().metadata
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(read, name), getattr(example(), name))


def test_equal_predictions_give_equal_bytes_whatever_their_memory_layout(tmp_path: Path) -> None:
    save_predictions(tmp_path / "a.npz", example())
    save_predictions(tmp_path / "b.npz", example(loss=np.asfortranarray(example().loss)))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_files_of_plain_numpy_are_read(tmp_path: Path) -> None:
    assert load_predictions(write(tmp_path / "p.npz", members())).metadata.widths == WIDTHS


def test_gateless_predictions_hold_no_logits(tmp_path: Path) -> None:
    gateless = example(
        metadata=example().metadata.model_copy(update={"decisions": []}), gate_logits=np.zeros((N, 0), np.float32)
    )
    save_predictions(tmp_path / "p.npz", gateless)
    assert load_predictions(tmp_path / "p.npz").gate_logits.shape == (N, 0)


def test_files_of_the_first_format_are_to_be_made_again(tmp_path: Path) -> None:
    path = write(tmp_path / "p.npz", members(confidence=None, metadata=metadata_with(format="dsnet-predictions/1")))
    with pytest.raises(CalibrationError, match=r"dsnet-predictions/3 has .*: run dsnet predict again$"):
        load_predictions(path)


def test_files_of_the_second_format_are_read_as_one_decision_that_all_widths_come_through(tmp_path: Path) -> None:
    second = {
        **example().metadata.model_dump(exclude={"decisions"}),
        "format": "dsnet-predictions/2",
        "choices": [0, 2],
    }
    metadata = npy(np.frombuffer(json.dumps(second).encode(), np.uint8))
    assert load_predictions(write(tmp_path / "p.npz", members(metadata=metadata))).metadata == example().metadata


def test_later_minor_fields_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "p.npz", members(metadata=metadata_with(colour="blue")))
    assert load_predictions(path).metadata.model_dump()["colour"] == "blue"


CLAIMING_8_TERABYTES = npy(example().loss).replace(b"(5, 3), }      ", b"(5, 399999999), }")[: len(npy(example().loss))]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (members(loss=None), "/3 has gate_logits, hit, loss, confidence, label, metadata, each once"),
        ({**members(), "extra.npy": b""}, "'extra.npy'; dsnet-predictions/3 has"),
        (members(loss=npy(example().loss.astype(np.float64))), "loss is <f8 of shape [5, 3]; expected <f4"),
        (members(loss=npy(np.array([{}], object))), "loss does not start as an array"),
        (members(loss=b"not an array"), "loss does not start as an array"),
        (members(loss=npy(example().loss)[:-4]), "loss of shape [5, 3] does not fit the 56 bytes stored"),
        (members(loss=CLAIMING_8_TERABYTES), "loss of shape [5, 399999999] does not fit"),
        (members(loss=npy(example().loss[:4])), "loss is float32 of shape [4, 3]"),
        (members(loss=npy(np.full((N, 3), np.nan, np.float32))), "loss of 5 images are not finite"),
        (members(gate_logits=npy(np.full((N, 2), np.inf, np.float32))), "gate_logits of 5 images are not finite"),
        (members(confidence=npy(np.zeros((N, 3), np.float32))), "confidence of 5 images is not above 0"),
        (members(confidence=npy(np.full((N, 3), 1.5, np.float32))), "images is not above 0 and at most 1"),
        (members(confidence=npy(np.full((N, 3), np.nan, np.float32))), "confidence of 5 images is not above 0"),
        (members(label=npy(np.full(N, -1, np.int32))), "label -1 is negative"),
        (members(hit=npy(example().hit)[:-1] + b"\x07"), "hit holds bytes other than 0 and 1"),
        (members(metadata=metadata_with(format="dsnet-predictions/4")), "predictions/4 is newer than this reader"),
        (members(metadata=metadata_with(format="something/1")), "format is 'something/1'"),
        (members(metadata=metadata_with(widths=[0, 1])), "hit is bool of shape [5, 3]"),
        (members(metadata=metadata_with(widths=[2, 1, 0])), "widths [2, 1, 0] must be ascending"),
        (members(metadata=metadata_with(decisions=[])), "ask for float32 of shape [5, 0]"),
        (members(metadata=metadata_with(decisions=[decision([0, 1])])), "not all come through as many decisions"),
        (members(metadata=metadata_with(decisions=[decision([0, 1, 2, 3])])), "decision 0 is of width 3"),
        (members(metadata=metadata_with(decisions=[decision([2, 1])])), "must be ascending and not negative"),
        (members(metadata=metadata_with(artifact_sha256="x")), "artifact_sha256"),
        (members(metadata=npy(np.frombuffer(b"{", np.uint8))), "metadata: not JSON"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_hold_together_is_refused_in_one_line(
    tmp_path: Path, content: dict[str, bytes], message: str
) -> None:
    with pytest.raises(CalibrationError) as refusal:
        load_predictions(write(tmp_path / "p.npz", content))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.runtime.predictions.MAX_BYTES", 1 << 20)
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members(loss=None).items():
            archive.writestr(name, data)
        archive.writestr("loss.npy", bytes(2 << 20))
    with pytest.raises(CalibrationError, match="the limit is 1048576"):
        load_predictions(path)


def test_predictions_that_readers_would_refuse_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="loss of 5 images are not finite"):
        save_predictions(tmp_path / "p.npz", example(loss=np.full((N, 3), np.nan, np.float32)))
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_but_never_breaks_the_reader(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "p.npz"
    save_predictions(path, example())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([None, len(content) // 2]))])
    try:
        assert load_predictions(path).hit.shape == (N, len(WIDTHS))
    except CalibrationError as refusal:
        assert "\n" not in str(refusal)
