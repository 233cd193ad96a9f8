from pathlib import Path

import pytest

from tests.calibration.cases import Case, case_in


@pytest.fixture
def case(tmp_path: Path, golden: Path) -> Case:
    """Return a copy of the golden bundle with a latency table and predictions that fit it."""
    return case_in(tmp_path, golden)
