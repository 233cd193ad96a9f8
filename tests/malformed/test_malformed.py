import json
import shutil
from pathlib import Path

import pytest

from common import DsnetError
from edge import BundleError
from edge.bundle import open_bundle
from edge.bundle.nested.weights import parse_recipe
from edge.bundle.verify import verify
from tests.malformed.build import HERE, write_all
from train.checkpoint import load_checkpoint

KINDS = ("bundles", "checkpoints", "recipes")
EXPECTED = json.loads((HERE / "expected.json").read_text())


def refusal(path: Path, at: str) -> str:
    """Return the error of the step that must refuse `path`, with every step before it done."""
    if at == "load":
        with pytest.raises(DsnetError) as refused:
            load_checkpoint(path)
        return str(refused.value)
    if at == "open":
        with pytest.raises(BundleError) as refused:
            open_bundle(path)
        return str(refused.value)
    if at == "recipe":
        with pytest.raises(BundleError) as refused:
            parse_recipe(path.read_bytes(), str(path))
        return str(refused.value)
    bundle = open_bundle(path)
    if at == "operating point":
        with pytest.raises(BundleError) as refused:
            bundle.operating_point("balanced")
        return str(refused.value)
    if at == "artifact":
        with pytest.raises(BundleError) as refused:
            bundle.verified_path(bundle.manifest.artifacts[0])
        return str(refused.value)
    bundle.verified_path(bundle.manifest.artifacts[0])
    failed = [check for check in verify(path) if check.outcome == "fail"]
    return f"{failed[0].claim}: {failed[0].detail}"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_malformed_file_is_refused_with_its_line(name: str) -> None:
    path = HERE / name
    error = refusal(path, EXPECTED[name]["at"])
    assert error.replace(str(path), "PATH") == EXPECTED[name]["error"]


def test_every_error_is_one_short_line() -> None:
    too_long = {name: case["error"] for name, case in EXPECTED.items() if len(case["error"]) > 500}
    several = [name for name, case in EXPECTED.items() if "\n" in case["error"]]
    assert (too_long, several) == ({}, [])


def test_every_malformed_file_has_an_expected_error() -> None:
    found = {f"{kind}/{path.name}" for kind in KINDS for path in (HERE / kind).iterdir()}
    assert found == set(EXPECTED)


def test_building_them_again_gives_the_same_bytes(tmp_path: Path) -> None:
    write_all(tmp_path)
    assert contents(tmp_path) == contents(*(HERE / kind for kind in KINDS))


def contents(*folders: Path) -> dict[str, bytes]:
    """Return every file's bytes by its path from the folder of its kind on."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                parts = path.parts
                start = max(i for i, part in enumerate(parts) if part in KINDS)
                found["/".join(parts[start:])] = path.read_bytes()
    return found


@pytest.fixture
def copy(golden: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(golden / "bundle", tmp_path / "bundle"))


def test_a_link_out_of_the_bundle_is_not_followed(copy: Path, tmp_path: Path) -> None:
    artifact = copy / "litert" / "model.tflite"
    shutil.move(artifact, tmp_path / "model.tflite")
    artifact.symlink_to(tmp_path / "model.tflite")
    bundle = open_bundle(copy)
    with pytest.raises(BundleError, match="a link leads outside the bundle"):
        bundle.verified_bytes(bundle.manifest.artifacts[0])


def test_a_linked_folder_out_of_the_bundle_is_not_followed(copy: Path, tmp_path: Path) -> None:
    shutil.move(copy / "litert", tmp_path / "elsewhere")
    (copy / "litert").symlink_to(tmp_path / "elsewhere")
    bundle = open_bundle(copy)
    with pytest.raises(BundleError, match="a link leads outside the bundle"):
        bundle.verified_path(bundle.manifest.artifacts[0])


def test_a_linked_manifest_is_not_followed(copy: Path, tmp_path: Path) -> None:
    shutil.move(copy / "manifest.json", tmp_path / "manifest.json")
    (copy / "manifest.json").symlink_to(tmp_path / "manifest.json")
    with pytest.raises(BundleError, match="a link leads outside the bundle"):
        open_bundle(copy)


def test_a_manifest_over_the_size_limit_is_not_read(copy: Path) -> None:
    with (copy / "manifest.json").open("ab") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(BundleError, match="larger than the limit of 16777216 bytes"):
        open_bundle(copy)


def test_a_folder_in_the_artifacts_place_is_no_file(copy: Path) -> None:
    (copy / "litert" / "model.tflite").unlink()
    (copy / "litert" / "model.tflite").mkdir()
    bundle = open_bundle(copy)
    with pytest.raises(BundleError, match="there is no such file"):
        bundle.verified_path(bundle.manifest.artifacts[0])
