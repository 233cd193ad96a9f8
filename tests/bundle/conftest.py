import shutil
from pathlib import Path

import pytest


@pytest.fixture
def bundle_folder(golden: Path, tmp_path: Path) -> Path:
    """Return a copy of the golden bundle that a test may change."""
    return Path(shutil.copytree(golden / "bundle", tmp_path / "bundle"))
