"""Image sets on disk, made of noise."""

import io
from pathlib import Path

import datasets
import numpy as np
from PIL import Image


def noise(mode: str = "RGB", size: tuple[int, int] = (11, 7), seed: int = 0) -> Image.Image:
    """Return an image of noise."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """Return an image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def write_folder(folder: Path, *names: str) -> Path:
    """Write an image of its own for each name, which may hold sub-folders; return the folder."""
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise(seed=seed).save(folder / name)
    return folder


def cut(path: Path) -> None:
    """Leave the first half of a file: a header, and too few pixels."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def image_table(
    labels: list[int], names: list[str] | None = None, columns: tuple[str, str] = ("image", "label")
) -> datasets.Dataset:
    """Return a table of images with labels, which have names or none."""
    images = [{"bytes": encoded(noise(seed=row)), "path": None} for row in range(len(labels))]
    label = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    features = datasets.Features(dict(zip(columns, (datasets.Image(), label), strict=True)))
    return datasets.Dataset.from_dict(dict(zip(columns, (images, labels), strict=True)), features=features)
