"""Labelled image sets and the batches made of them. Images come from strangers: checked, then decoded.

Images are prepared as the phone runtimes do it: turned upright, 8-bit RGB, scaled bilinearly (with antialias) to
resolution × resolution without keeping the aspect ratio, then (pixel / 255 − mean) / std.

Shapes: n images, r = spec.resolution.
"""

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from train.errors import DataError
from train.spec import SupernetSpec

MAX_PIXELS = 100_000_000
"""The largest image decoded: 100 megapixels, more than any phone camera writes."""
MEMORY_LIMIT_BYTES = 1 << 30
"""Sets up to this size are decoded once and held as uint8; larger ones are decoded when a batch needs them."""
DIGITS_SPLIT = {"train": 0.6, "calibration": 0.2, "test": 0.2}

LAYOUT = (
    "a folder with one sub-folder per class (or with folders train, calibration, test of those), or .parquet file(s)"
)

ImageDataset = Dataset[tuple[Tensor, ...]]


@dataclass(frozen=True)
class ImageSet:
    """Images of one split: items are (uint8 image (3, r, r), int64 label)."""

    images: ImageDataset
    count: int
    classes: tuple[str, ...]
    """Class names in label order."""


class DecodedOnDemand(ImageDataset):
    """Decodes an image each time it is asked for."""

    def __init__(self, rows: datasets.Dataset, resolution: int) -> None:
        self.rows = rows
        self.resolution = resolution

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[Tensor, ...]:
        row = self.rows[number]
        return _decode(row["image"], self.resolution, f"image {number}"), torch.tensor(row["label"])


def load_images(path: Path, spec: SupernetSpec, split: str = "train") -> ImageSet:
    """Open one split of a labelled image set at the resolution of `spec`.

    A folder of class sub-folders, or one with a folder per split; a parquet file, or a folder of them named
    SPLIT-*.parquet (columns image {bytes, path} and label). Raises DataError when there is nothing to read, an image is
    damaged or a label does not fit `spec.classes`.
    """
    rows, classes = _open_parquet(path, split) if _is_parquet(path) else _open_folder(path, split)
    if not len(rows):
        raise DataError(f"no images in {path}; give {LAYOUT}")
    _check_labels(rows, spec, path)
    lazy = DecodedOnDemand(rows, spec.resolution)
    if len(rows) * 3 * spec.resolution**2 > MEMORY_LIMIT_BYTES:
        return ImageSet(lazy, len(rows), classes)
    pixels = torch.empty(len(rows), 3, spec.resolution, spec.resolution, dtype=torch.uint8)
    for number in range(len(rows)):
        pixels[number] = lazy[number][0]
    return ImageSet(TensorDataset(pixels, torch.tensor(rows["label"][:])), len(rows), classes)


def batches(
    images: ImageSet, batch_size: int, shuffle: torch.Generator | None = None
) -> DataLoader[tuple[Tensor, ...]]:
    """Return uint8 images (n, 3, r, r) with labels (n,): in order, or shuffled and without the last, partial batch."""
    size = min(batch_size, images.count)
    return DataLoader(
        images.images, size, shuffle=shuffle is not None, generator=shuffle, drop_last=shuffle is not None
    )


def write_digits(folder: Path, size: int = 32, seed: int = 0) -> None:
    """Write scikit-learn's handwritten digits (1,797 real images of 8×8, UCI) as RGB files of size × size.

    FOLDER/{train,calibration,test}/CLASS/NNNN.png, 60/20/20, every class in the same proportions; NNNN numbers the
    image in the original set. The same seed gives the same files.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        for label in range(10):
            members = generator.permutation(np.flatnonzero(digits.target == label))
            cuts = np.cumsum([round(share * len(members)) for share in DIGITS_SPLIT.values()])[:-1]
            for split, numbers in zip(DIGITS_SPLIT, np.split(members, cuts), strict=True):
                (folder / split / str(label)).mkdir(parents=True, exist_ok=True)
                for number in numbers:
                    pixels = np.rint(digits.images[number] * (255 / 16)).astype(np.uint8)
                    image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC).convert("RGB")
                    written = Path(scratch) / "image.png"
                    image.save(written)
                    written.replace(folder / split / str(label) / f"{number:04}.png")


def _is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet" or (path.is_dir() and any(path.glob("*.parquet")))


def _open_parquet(path: Path, split: str) -> tuple[datasets.Dataset, tuple[str, ...]]:
    files = [path] if path.is_file() else sorted(path.glob(f"{split}-*.parquet"))
    if not files or not files[0].is_file():
        found = ", ".join(sorted({file.name.split("-")[0] for file in path.glob("*.parquet")})) or "nothing"
        raise DataError(f"no {split}-*.parquet in {path} (found: {found}); give another --split, or {LAYOUT}")
    datasets.disable_progress_bars()
    try:
        rows: Any = datasets.load_dataset("parquet", data_files=[str(file) for file in files], split="train")
    except (datasets.exceptions.DatasetGenerationError, ValueError, OSError) as error:
        raise DataError(f"{path} is not a readable parquet image set; give {LAYOUT}") from error
    if not {"image", "label"} <= set(rows.column_names):
        raise DataError(f"{path} has columns {', '.join(rows.column_names)}; an image set needs image and label")
    return rows.cast_column("image", datasets.Image(decode=False)), _class_names(rows)


def _class_names(rows: datasets.Dataset) -> tuple[str, ...]:
    feature = rows.features["label"]
    if isinstance(feature, datasets.ClassLabel):
        return tuple(feature.names)
    labels = rows.unique("label")
    if not all(isinstance(label, int) and label >= 0 for label in labels):
        raise DataError("the label column must hold whole numbers from 0; write class indices into it")
    return tuple(str(label) for label in range(max(labels, default=-1) + 1))


def _open_folder(path: Path, split: str) -> tuple[datasets.Dataset, tuple[str, ...]]:
    root = path / split if (path / split).is_dir() else path
    folders = (
        sorted((entry for entry in root.iterdir() if entry.is_dir()), key=lambda entry: entry.name)
        if root.is_dir()
        else []
    )
    if {folder.name for folder in folders} & set(DIGITS_SPLIT):
        raise DataError(f"{path} has no split {split!r}; valid: {', '.join(folder.name for folder in folders)}")
    if not folders:
        raise DataError(f"no labelled images at {path}; give {LAYOUT}")
    known = Image.registered_extensions()
    found = [
        (str(file), label)
        for label, folder in enumerate(folders)
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in known and file.is_file()
    ]
    columns = {"image": [file for file, _ in found], "label": [label for _, label in found]}
    rows = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image(decode=False))
    return rows, tuple(folder.name for folder in folders)


def _check_labels(rows: datasets.Dataset, spec: SupernetSpec, path: Path) -> None:
    labels = rows.unique("label")
    if min(labels) < 0 or max(labels) >= spec.classes:
        raise DataError(
            f"{path} has labels {min(labels)}…{max(labels)}, spec {spec.name!r} has {spec.classes} classes; "
            "give a spec with enough classes"
        )


def _decode(image: dict[str, Any], resolution: int, label: str) -> Tensor:
    """Return one image, uint8 (3, r, r)."""
    name = image.get("path") or label
    try:
        opened = Image.open(io.BytesIO(image["bytes"]) if image.get("bytes") is not None else name)
        if opened.width * opened.height > MAX_PIXELS:
            raise DataError(
                f"{name} has {opened.width}×{opened.height} pixels; the limit is {MAX_PIXELS}, scale it down"
            )
        scaled = _to_rgb(ImageOps.exif_transpose(opened)).resize((resolution, resolution), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} is not an image that Pillow can read; remove or replace it") from error
    return torch.from_numpy(np.array(scaled)).permute(2, 0, 1).contiguous()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        image = Image.fromarray(np.rint(np.asarray(image, np.float64) / 257).astype(np.uint8))
    return image.convert("RGB")
