import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import BundleError
from edge.bundle import add_operating_points, open_bundle, pack


@pytest.fixture
def archive(golden: Path, tmp_path: Path) -> Path:
    pack(golden / "bundle", tmp_path / "bundle.zip")
    return tmp_path / "bundle.zip"


def test_a_packed_bundle_reads_as_the_folder_does(golden: Path, archive: Path) -> None:
    folder, packed = open_bundle(golden / "bundle"), open_bundle(archive)
    assert packed.manifest == folder.manifest
    assert packed.verified_bytes(packed.artifact()) == folder.verified_bytes(folder.artifact())


def test_equal_bundles_give_equal_archives(golden: Path, archive: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(golden / "bundle", tmp_path / "copy"))
    os.utime(copy / "manifest.json", (1, 1))
    (copy / "notes.txt").write_text("not named in the manifest")
    pack(copy, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_a_damaged_bundle_is_not_packed(bundle_folder: Path, tmp_path: Path) -> None:
    (bundle_folder / "litert" / "model.tflite").write_bytes(b"TFL3")
    with pytest.raises(BundleError, match="4 bytes, but the manifest says 5600"):
        pack(bundle_folder, tmp_path / "bundle.zip")
    assert not (tmp_path / "bundle.zip").exists()


def test_a_zip_of_the_folder_itself_opens_too(golden: Path, tmp_path: Path) -> None:
    made = shutil.make_archive(str(tmp_path / "made"), "zip", golden, "bundle")
    assert open_bundle(Path(made)).manifest == open_bundle(golden / "bundle").manifest


def test_an_archive_cannot_be_changed_in_place(archive: Path) -> None:
    point = open_bundle(archive).operating_point("fast")
    with pytest.raises(BundleError, match=r"only a bundle in a folder can be changed; unpack the \.zip first"):
        add_operating_points(open_bundle(archive).root, [point])
    with pytest.raises(BundleError, match=r"bundle\.zip: only a bundle in a folder can be changed"):
        add_operating_points(archive, [point])


def test_errors_name_the_archive_and_not_its_temporary_copy(golden: Path, tmp_path: Path) -> None:
    bundle = open_bundle(Path(shutil.make_archive(str(tmp_path / "made"), "zip", golden, "bundle")))
    (bundle.root / "litert" / "model.tflite").write_bytes(b"TFL3")
    with pytest.raises(BundleError) as damaged:
        bundle.verified_path(bundle.artifact())
    with pytest.raises(BundleError) as absent:
        bundle.operating_point("absent")
    assert str(damaged.value).startswith(f"{tmp_path / 'made.zip'}/litert/model.tflite: 4 bytes")
    assert str(absent.value).startswith(f"{tmp_path / 'made.zip'}: no operating point")


def test_a_manifest_in_an_archive_is_refused_under_the_archives_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as made:
        made.writestr("manifest.json", "{")
    with pytest.raises(BundleError) as refused:
        open_bundle(tmp_path / "bad.zip")
    assert str(refused.value).startswith(f"{tmp_path / 'bad.zip'}/manifest.json: not JSON")


def test_an_encrypted_archive_is_refused(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = data.find(signature)
        while start >= 0:
            data[start + flags] |= 1
            start = data.find(signature, start + 4)
    archive.write_bytes(data)
    with pytest.raises(BundleError, match=r"not a readable \.zip"):
        open_bundle(archive)


def test_the_temporary_copy_is_removed_when_the_process_ends(archive: Path) -> None:
    code = (
        "from pathlib import Path; from edge.bundle import open_bundle; "
        f"root = open_bundle(Path({str(archive)!r})).root; assert (root / 'manifest.json').exists(); print(root)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).exists()


def test_a_refused_archive_leaves_nothing_outside_its_folder(golden: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as made:
        made.write(golden / "bundle" / "manifest.json", "manifest.json")
        made.writestr("../escaped", "x")
    with pytest.raises(BundleError, match="must stay inside the bundle"):
        open_bundle(evil)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.zip"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 11_000), cut=st.integers(0, 40), filling=st.binary(max_size=8))
def test_damaged_archives_never_crash_the_reader(
    golden: Path, tmp_path: Path, start: int, cut: int, filling: bytes
) -> None:
    whole, damaged = tmp_path / "whole.zip", tmp_path / "damaged.zip"
    if not whole.exists():
        pack(golden / "bundle", whole)
    data = whole.read_bytes()
    damaged.write_bytes(data[:start] + filling + data[start + cut :])
    try:
        open_bundle(damaged)
    except BundleError as error:
        assert "\n" not in str(error)
