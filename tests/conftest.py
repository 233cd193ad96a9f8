"""Fixtures for every test. Data beyond the repository is optional: tests that want it skip and say why."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder `shared/` beside the repository, which holds optional data sets and reference outputs."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder shared/ beside the repository; it holds optional data sets and reference outputs")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return the folder of golden files; tests must not write to it."""
    return REPOSITORY / "tests" / "golden"
