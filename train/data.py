"""Labelled image sets and the batches made of them. Images come from strangers: all are checked when a set is opened.

Pixels are those that the device sees (`common.images`), as uint8; normalising them is part of a training step.

Shapes: n images, r pixels a side.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from common import sha256_bytes
from common.images import DamagedImageError, decode_square
from train.errors import DataError, listed
from train.sources import ImageFile, Rows, open_rows
from train.spec import SupernetSpec

MEMORY_LIMIT_BYTES = 1 << 30
"""Sets up to this size are decoded once and held as uint8; larger ones are decoded when a batch needs them."""
MAX_DAMAGED_SHARE = 0.1
"""A set with more of its images damaged is refused: then the copy is at fault, and what is left may miss classes."""
DECODING_WORKERS = min(8, os.cpu_count() or 1)
"""Processes that decode images ahead of each process that needs them, for sets too large for memory."""
NAMED = 5
"""Damaged images that a line names."""
ROWS_PER_TASK = 64
DIGITS_SPLIT = {"train": 0.6, "calibration": 0.2, "test": 0.2}

logger = logging.getLogger(__name__)


class DecodedImages(TensorDataset):
    """A set held in memory, pixels uint8 (n, 3, r, r) and labels int64 (n,): a batch is one indexing operation."""

    def __getitems__(self, places: list[int]) -> tuple[Tensor, ...]:
        """Return a whole batch."""
        # NumPy copies rows on this thread; torch splits them over its threads, which costs more than it gains.
        return tuple(torch.from_numpy(tensor.numpy()[places]) for tensor in self.tensors)


class DecodedOnDemand(Dataset[tuple[Tensor, ...]]):
    """Decodes an image each time it is asked for; one found damaged then is replaced by the next readable one."""

    def __init__(self, rows: Rows, numbers: Tensor, resolution: int, damaged: dict[int, str]) -> None:
        self.rows = rows
        self.numbers = numbers
        """The rows that belong to this set, int64 (n,)."""
        self.resolution = resolution
        self.damaged = damaged
        """Images found damaged since the set was opened, by row."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> tuple[Tensor, ...]:
        for step in range(len(self)):
            number = int(self.numbers[(place + step) % len(self)])
            if number not in self.damaged and (pixels := self._decoded(number)) is not None:
                return pixels, self.rows.labels[number]
        raise DataError(f"no image of {self.rows.source} can be read any more; check that it is still there")

    def _decoded(self, number: int) -> Tensor | None:
        (file,) = self.rows.files(number, number + 1)
        try:
            return torch.from_numpy(_pixels(file, self.resolution).copy())
        except DamagedImageError as error:
            self.damaged[number] = _named(file, error)
            logger.warning("left out from now on: %s", self.damaged[number])
            _check_share(self.rows, self.damaged.values())
            return None


ImageDataset = TensorDataset | DecodedOnDemand


@dataclass(frozen=True)
class ImageSet:
    """Images of one split: items are (uint8 image (3, r, r), int64 label)."""

    images: ImageDataset
    count: int
    classes: tuple[str, ...]
    """Class names in label order."""
    damaged: tuple[str, ...] = ()
    """The images left out when the set was opened: `name (reason)`, in order."""


def load_images(
    source: Path | str, spec: SupernetSpec, split: str = "train", resolution: int | None = None
) -> ImageSet:
    """Open one split of a labelled image set, for the classes of `spec`; `resolution` defaults to the spec's.

    A folder of class sub-folders, or one with a folder per split; a parquet file, or a folder of them named
    SPLIT-*.parquet; or, where no such path exists, the name user/set of a set on the Hugging Face Hub. Damaged images
    are left out (`damage_report`). Raises DataError when there is nothing to read, too many images are damaged or the
    classes are not as many as the spec's.
    """
    rows = open_rows(source, split)
    classes = _classes(rows, spec)
    side = resolution or spec.resolution
    images, damaged = (_opened if len(rows) * 3 * side**2 > MEMORY_LIMIT_BYTES else _decoded)(rows, side)
    return ImageSet(images, len(images), classes, damaged)


def damage_report(images: ImageSet) -> str | None:
    """Return a line that counts and names the images found damaged when a set was opened, or None."""
    damaged = images.damaged
    if not damaged:
        return None
    return f"{len(damaged):,} of {images.count + len(damaged):,} images left out: {listed(damaged, NAMED)}"


def digest(images: ImageSet) -> str:
    """Return the SHA-256 of a set's classes and labels: another set, split or part of one has another."""
    labels = _labels(images.images).numpy().astype("<i8").tobytes()
    return sha256_bytes("\0".join(images.classes).encode() + b"\0" + labels)


def decoding_workers(images: ImageSet) -> int:
    """Return how many processes decode a set's images; none where they are decoded already."""
    return DECODING_WORKERS if isinstance(images.images, DecodedOnDemand) else 0


def hold_out(images: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet | None]:
    """Split off `share` (0 ≤ share < 1) of the images, of every class alike: (kept, held out), each in the set's order.

    A class of n images gives share × n, up or down to a whole number; None where that leaves no image at all. The same
    seed holds out the same images.
    """
    labels = _labels(images.images)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = order[labels[order].argsort(stable=True)]
    # Walking through the classes one after the other, take an image whenever the share of those passed is due one more.
    due = (torch.arange(len(labels) + 1, dtype=torch.float64) * share + 0.5).floor()
    taken = due.diff() > 0
    kept, held_out = by_class[~taken].sort().values, by_class[taken].sort().values
    return _part(images, kept), _part(images, held_out) if len(held_out) else None


def batches(
    images: ImageSet, batch_size: int, shuffle: torch.Generator | None = None
) -> DataLoader[tuple[Tensor, ...]]:
    """Return uint8 images (n, 3, r, r) with labels (n,): in order, or shuffled and without the last, partial batch."""
    return DataLoader(
        images.images,
        min(batch_size, images.count),
        shuffle=shuffle is not None,
        generator=shuffle,
        drop_last=shuffle is not None,
        collate_fn=collate,
        num_workers=decoding_workers(images),
    )


def collate(batch: Any) -> tuple[Tensor, ...]:
    """Return a batch as tensors: `DecodedImages` gives it whole, other sets give a list of items."""
    if isinstance(batch, tuple):
        return batch
    return tuple(torch.stack(column) for column in zip(*batch, strict=True))


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


def _classes(rows: Rows, spec: SupernetSpec) -> tuple[str, ...]:
    """Return the class names, numerals where the source has none; raises DataError where they do not fit the spec."""
    names = tuple(str(label) for label in range(spec.classes)) if rows.classes is None else rows.classes
    if len(names) != spec.classes:
        raise DataError(
            f"{rows.source} has {len(names)} classes ({listed(names, NAMED)}), spec {spec.name!r} has {spec.classes}; "
            "give data and a spec with equally many"
        )
    low, high = int(rows.labels.min()), int(rows.labels.max())
    if low < 0 or high >= spec.classes:
        raise DataError(
            f"{rows.source} has labels {low}…{high}, spec {spec.name!r} has {spec.classes} classes; "
            f"valid: 0…{spec.classes - 1}"
        )
    return names


def _decoded(rows: Rows, resolution: int) -> tuple[DecodedImages, tuple[str, ...]]:
    pixels = torch.empty(len(rows), 3, resolution, resolution, dtype=torch.uint8)
    target = pixels.numpy()

    def decode(number: int, file: ImageFile) -> None:
        target[number] = _pixels(file, resolution)

    damaged = _damaged(rows, decode)
    if not damaged:
        return DecodedImages(pixels, rows.labels), ()
    kept = _readable(rows, damaged)
    return DecodedImages(pixels[kept], rows.labels[kept]), tuple(damaged.values())


def _opened(rows: Rows, resolution: int) -> tuple[DecodedOnDemand, tuple[str, ...]]:
    damaged = _damaged(rows, lambda _, file: file.check())
    return DecodedOnDemand(rows, _readable(rows, damaged), resolution, {}), tuple(damaged.values())


def _damaged(rows: Rows, examine: Callable[[int, ImageFile], None]) -> dict[int, str]:
    """Examine every row, on as many threads as torch uses; return the damaged ones, named, by row."""

    def task(start: int) -> dict[int, str]:
        found = {}
        for number, file in enumerate(rows.files(start, start + ROWS_PER_TASK), start):
            try:
                examine(number, file)
            except DamagedImageError as error:
                found[number] = _named(file, error)
        return found

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        parts = pool.map(task, range(0, len(rows), ROWS_PER_TASK))
        damaged = {number: name for part in parts for number, name in part.items()}
    _check_share(rows, damaged.values())
    return damaged


def _pixels(file: ImageFile, resolution: int) -> NDArray[np.uint8]:
    """Return one image, uint8 (3, r, r); raises DamagedImageError."""
    return decode_square(file.read(), file.name, resolution).transpose(2, 0, 1)


def _readable(rows: Rows, damaged: dict[int, str]) -> Tensor:
    return torch.tensor([number for number in range(len(rows)) if number not in damaged], dtype=torch.int64)


def _check_share(rows: Rows, damaged: Collection[str]) -> None:
    if len(damaged) > MAX_DAMAGED_SHARE * len(rows):
        raise DataError(
            f"{len(damaged):,} of {len(rows):,} images in {rows.source} are damaged, more than "
            f"{MAX_DAMAGED_SHARE:.0%}: {listed(damaged, NAMED)}; replace them, or copy the set anew"
        )


def _named(file: ImageFile, error: DamagedImageError) -> str:
    return f"{file.name} ({error.reason})"


def _labels(images: ImageDataset) -> Tensor:
    if isinstance(images, DecodedOnDemand):
        return images.rows.labels[images.numbers]
    return images.tensors[1]


def _part(images: ImageSet, places: Tensor) -> ImageSet:
    """Return some images of a set; what was damaged is the whole set's to report."""
    whole = images.images
    if isinstance(whole, DecodedOnDemand):
        part: ImageDataset = DecodedOnDemand(whole.rows, whole.numbers[places], whole.resolution, whole.damaged)
    else:
        part = DecodedImages(*(tensor[places] for tensor in whole.tensors))
    return replace(images, images=part, count=len(places), damaged=())
