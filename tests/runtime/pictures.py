"""A small labelled set of images for the golden bundle."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("circle", "square", "triangle")


def write_pictures(folder: Path, per_class: int = 2) -> Path:
    """Write noise images into one sub-folder per class."""
    noise = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = noise.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder
