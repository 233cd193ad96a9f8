"""Writing a bundle: all of a conversion or none of it, starting from a bundle that has artifacts."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from convert import ConvertError
from convert.artifacts import NewArtifact, Request
from convert.build_bundle import build_bundle
from convert.images import CheckImages
from edge.bundle.reader import open_bundle, read_manifest
from edge.bundle.verify import verify
from tests.convert.litert.conversions import CHECKPOINT, IMAGES, converted

NOISE = CheckImages("noise", IMAGES[:1], [])
CLASSES = tuple("abcdefghij")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a copy of a bundle with artifacts in both precisions."""
    return Path(shutil.copytree(converted("onnx2tf", "ds_mbv1_tiny").root, tmp_path / "bundle"))


def test_a_conversion_that_makes_no_bundle_leaves_the_one_there_untouched(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(bundle)
    there = open_bundle(bundle).artifact("litert", "int8")
    twice = [NewArtifact(there, b"new"), NewArtifact(there, b"new")]
    monkeypatch.setattr("convert.litert.artifacts.convert", lambda *_: twice)
    with pytest.raises(ConvertError, match="artifact litert int8 appears twice"):
        build_bundle(CHECKPOINT, Request((0, 3), "litert", ("int8",), CLASSES), NOISE, bundle)
    assert contents(bundle) == before


def test_an_unknown_front_end_leaves_the_bundle_there_untouched(bundle: Path) -> None:
    before = contents(bundle)
    with pytest.raises(ConvertError, match="valid for --frontend: onnx2tf, litert-torch"):
        build_bundle(CHECKPOINT, Request((0, 3), "litert", ("int8",), CLASSES, "nope"), NOISE, bundle)
    assert contents(bundle) == before


def test_a_precision_named_twice_is_converted_once_and_replaces_the_artifact_there(bundle: Path) -> None:
    told: list[str] = []
    request = Request((0, 3), "litert", ("wi8", "wi8"), CLASSES)
    build_bundle(CHECKPOINT, request, NOISE, bundle, told.append)
    assert len([line for line in told if line.startswith("wi8: quantizing")]) == 1
    assert [artifact.precision for artifact in read_manifest(bundle).artifacts] == ["int8", "wi8"]
    assert [check for check in verify(bundle) if check.outcome == "fail"] == []


def test_replacing_a_network_leaves_no_file_that_the_manifest_does_not_name(bundle: Path) -> None:
    other = replace(CHECKPOINT, sha256="1" * 64)
    request = Request((0,), "litert", ("wi8",), CLASSES, replace=True)
    build_bundle(other, request, NOISE, bundle)
    assert [path.name for path in (bundle / "litert").iterdir()] == ["model_wi8.tflite"]
