"""The conversion that several tests look at."""

from pathlib import Path

from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import CheckImages
from tests.convert.supernets import images, trained_like

CHECKPOINT = trained_like()
IMAGES = images(CHECKPOINT.spec, 12)
LABELS = [number % 10 for number in range(12)]
WIDTHS = (0, 3)


def write_bundle(folder: Path) -> None:
    """Write a bundle of two widths of the tiny network for ExecuTorch, in both precisions."""
    request = Request(WIDTHS, "executorch", ("fp32", "int8"), tuple("abcdefghij"))
    build_bundle(CHECKPOINT, request, CheckImages("noise", IMAGES, LABELS), folder)
