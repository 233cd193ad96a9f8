from collections.abc import Callable
from pathlib import Path

import pytest

from tests.diff.releases import Release, release


@pytest.fixture
def released(tmp_path: Path, golden: Path) -> Callable[..., Release]:
    """Return a function that makes a release of a name with known properties."""

    def make(name: str, **properties: float) -> Release:
        return release(tmp_path / name, golden, **properties)  # type: ignore[arg-type]

    return make


@pytest.fixture
def old(released: Callable[..., Release]) -> Release:
    """Return the release that others are compared with."""
    return released("old")


@pytest.fixture
def equal(released: Callable[..., Release]) -> Release:
    """Return a release of another artifact that is as good, measured anew."""
    return released("equal", padding=8)


@pytest.fixture
def worse(released: Callable[..., Release]) -> Release:
    """Return a release that is 10% larger and slower, and lost 5% of what was right."""
    return released("worse", padding=560, slower=1.1, lost=0.05)
