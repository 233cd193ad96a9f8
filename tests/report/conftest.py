import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.cases import Files, files_in
from tests.report.chromium import NAMES, Chromium, chromium, find_chromium


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, golden: Path) -> Files:
    """Return the inputs of a report; tests must not change them."""
    return files_in(tmp_path_factory.mktemp("report"), golden)


@pytest.fixture
def files(written: Files, tmp_path: Path) -> Files:
    """Return the inputs of a report, for a test to change."""
    copy = shutil.copytree(written.root.parent, tmp_path / "report")
    return Files(*(copy / path.name for path in (written.root, written.latency, written.predictions, written.images)))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Return a headless Chromium."""
    program = find_chromium()
    if program is None:
        pytest.skip(f"no Chromium here ({', '.join(NAMES)}); apt-get install chromium")
    with chromium(program, tmp_path_factory.mktemp("chromium")) as started:
        yield started
