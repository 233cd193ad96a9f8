"""Fixtures for every test. Data beyond the repository is optional: tests that want it skip and say why."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder `shared/` beside the repository, which holds optional data sets and reference outputs."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder shared/ beside the repository; it holds optional data sets and reference outputs")
    return folder


@pytest.fixture(autouse=True)
def _history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the runs that tests measure out of the user's history."""
    monkeypatch.setenv("DSNET_HISTORY", str(tmp_path / "history.sqlite"))


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return the folder of golden files; tests must not write to it."""
    return REPOSITORY / "tests" / "golden"


@pytest.fixture(scope="session")
def executorch_bundle(tmp_path_factory: pytest.TempPathFactory) -> "Bundle":
    """Return a bundle of the tiny network for ExecuTorch; tests must not change it.

    Converting takes half a minute, so the processes of one test run share it.
    """
    from edge.bundle.reader import open_bundle
    from tests.convert.executorch.conversions import write_bundle

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # of all processes of pytest-xdist
    with FileLock(shared / "executorch-bundle.lock"):
        if not (shared / "executorch-bundle" / "manifest.json").exists():
            write_bundle(shared / "executorch-bundle")
    return open_bundle(shared / "executorch-bundle")
