"""From `dsnet android-assets` to the device's storage: the app's installer on what the command line writes."""

from pathlib import Path

import pytest

from common import sha256_file
from edge.cli import main
from tests.android.kotlin import Tools, compiled_core, run_main
from tests.native.data import NETWORKS


def content(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder`."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


@pytest.mark.parametrize("options", [(), ("--widths", "0")], ids=["all widths", "one width"])
def test_assets_are_installed_byte_for_byte(
    tools: Tools, golden: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    assets, root = tmp_path / "assets", tmp_path / "files"
    with pytest.raises(SystemExit) as ended:
        main(["android-assets", str(golden / "bundle"), "--out", str(assets), *options])
    assert ended.value.code == 0
    (installed,) = run_main(tools, compiled_core(tools), "InstallBundle", str(assets), str(root))
    assert content(root / "bundle") == content(assets)
    assert installed["artifact"] == "artifact litert int8"
    assert ("width 1 (16)" in installed["choices"]) == (not options)


def test_an_update_of_the_app_leaves_nothing_of_the_bundle_before(tools: Tools, golden: Path, tmp_path: Path) -> None:
    classes, root = compiled_core(tools), tmp_path / "files"
    for bundle in (NETWORKS / "first", golden / "bundle"):
        run_main(tools, classes, "InstallBundle", str(bundle), str(root))
    assert content(root) == {f"bundle/{name}": found for name, found in content(golden / "bundle").items()}
