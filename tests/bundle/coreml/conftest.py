"""A bundle for Core ML, converted once per test process, and a copy of it that a test may change."""

import shutil
from pathlib import Path

import pytest

from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import CheckImages
from edge.bundle.reader import Bundle, open_bundle
from tests.convert.supernets import trained_like
from train.spec import GateSpec, StageSpec, SupernetSpec

SPEC = SupernetSpec(
    "small_gated", 16, 10, StageSpec((8, 16), 1, 2),
    (StageSpec((12, 24), 1, 1), StageSpec((16, 24, 32), 1, 2)), gates=(GateSpec(1, (0, 2)),),
)  # fmt: skip


@pytest.fixture(scope="session")
def converted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of three widths in fp16; tests must not write to it."""
    out = tmp_path_factory.mktemp("coreml") / "bundle"
    request = Request((0, 1, 2), "coreml", ("fp16",), tuple("abcdefghij"))
    build_bundle(trained_like(SPEC), request, CheckImages("none", [], []), out)
    return out


@pytest.fixture
def folder(converted_folder: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may change."""
    return Path(shutil.copytree(converted_folder, tmp_path / "bundle"))


@pytest.fixture
def bundle(converted_folder: Path) -> Bundle:
    """Return the bundle, opened."""
    return open_bundle(converted_folder)
