import errno
import stat
from pathlib import Path

import pytest

from common import DsnetError, atomic_folder, atomic_write, check_writable, sha256_bytes, sha256_file


def test_the_target_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "result.json"
    with atomic_write(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def test_a_failed_block_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert (target.read_text(), [path.name for path in tmp_path.iterdir()]) == ("old", ["result.json"])


def test_hashes_of_a_file_and_of_its_bytes_agree(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "data") == sha256_bytes(b"abc" * 100_000)
    assert sha256_bytes(b"abc").startswith("ba7816bf8f01cfea")


def test_a_place_that_cannot_be_written_is_named_before_and_at_writing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    check_writable(tmp_path / "new" / "net.safetensors")
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    for target, problem in ((tmp_path / "new", "is a folder"), (tmp_path / "file" / "x.json", "cannot be written")):
        with pytest.raises(DsnetError, match=f"{target.name} {problem}"):
            check_writable(target)
        with pytest.raises(DsnetError, match=f"{target.name} {problem}"), atomic_write(target):
            pytest.fail("the block must not run")


@pytest.mark.parametrize("problem", ["temporary removed", "storage full"])
def test_trouble_with_the_temporary_names_the_target(tmp_path: Path, problem: str) -> None:
    refused = pytest.raises(DsnetError, match=r"result\.json cannot be written")
    with refused as caught, atomic_write(tmp_path / "result.json") as temporary:
        if problem == "storage full":
            raise OSError(errno.ENOSPC, "No space left on device")
        temporary.unlink()
    assert ".part" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_error_about_another_file_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), atomic_write(tmp_path / "result.json"):
        (tmp_path / "absent").read_bytes()


def test_a_name_that_is_too_long_is_refused_by_name(tmp_path: Path) -> None:
    for target in (tmp_path / ("x" * 300), tmp_path / ("x" * 300) / "net.safetensors"):
        with pytest.raises(DsnetError, match=r"xxx.* cannot be written"):
            check_writable(target)


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "Model.mlpackage"
    with atomic_folder(target) as folder:
        (folder / "weights").write_bytes(b"old")
        (folder / "stale").write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_folder(target) as folder:
        (folder / "weights").write_bytes(b"half")
        raise RuntimeError
    assert (target / "weights").read_bytes() == b"old"
    with atomic_folder(target) as folder:
        (folder / "weights").write_bytes(b"new")
    assert [path.name for path in target.iterdir()] == ["weights"]
    assert [path.name for path in tmp_path.iterdir()] == ["Model.mlpackage"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DsnetError, match="is a file; name the folder to write"), atomic_folder(tmp_path / "file"):
        pass
