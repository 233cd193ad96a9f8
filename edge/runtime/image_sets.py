"""Sets of images on disk: a file, a folder (class sub-folders are labels), or a parquet file in Hugging Face layout."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from common.images import ImageError, image_files, read_image

PARQUET_ROWS_PER_READ = 64
LABELLED = "name a folder with one sub-folder per class, or a .parquet file with columns image and label"
SPLITS = {"train", "calibration", "val", "validation", "test"}
"""Names that folders of a data set's parts go by."""


@dataclass(frozen=True)
class Sample:
    """One image as it lies on disk, undecoded and not yet read."""

    name: str
    label: int | None
    """Index into the bundle's classes, where the set has labels."""
    read: Callable[[], bytes] = field(repr=False, compare=False)
    """Returns the file's bytes; raises ImageError."""

    @cached_property
    def data(self) -> bytes:
        """Return the file's bytes, read once; raises ImageError for a file that cannot be read or is too large."""
        return self.read()


class ImageSet(Protocol):
    """Images in a fixed order."""

    @property
    def name(self) -> str:
        """Return the set's last path component."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __iter__(self) -> Iterator[Sample]:
        """Yield the images in order; what is wrong with one shows when its `data` is asked for."""


def open_images(path: Path, limit: int | None = None) -> ImageSet:
    """Return the images at `path` (one file, or a folder and all below it), without labels; raises ImageError.

    `limit` keeps that many images, spread evenly over the folder. Hidden files and folders are left out.
    """
    if path.is_dir():
        files = image_files(path)
        return ImageFiles(path.name, path, tuple(files[number] for number in _spread(len(files), limit)), None)
    if not path.exists():
        raise ImageError(f"{path} does not exist; name an image file or a folder of images")
    return ImageFiles(path.name, path.parent, (path,), None)


def open_labelled(path: Path, classes: Sequence[str], limit: int | None = None) -> ImageSet:
    """Return a labelled image set: a folder with one sub-folder per class, or a `.parquet` file.

    `limit` keeps that many images, spread evenly over the set. The set's class names are matched to `classes` by name
    (`match_classes`). Raises ImageError when there is nothing to read or the classes do not match.
    """
    if path.is_dir():
        return _labelled_folder(path, classes, limit)
    if path.suffix == ".parquet" and path.exists():
        return ParquetImages(path, classes, limit)
    raise ImageError(f"{path} is no labelled image set; {LABELLED}")


def match_classes(found: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Return, for each class name of a data set, its index in the bundle's `classes`.

    By name where the bundle knows them all. A bundle whose classes are mere numerals (0…n−1) has no names to match: a
    set of exactly as many classes is taken to be in its order. Anything else raises ImageError.
    """
    index = {name: number for number, name in enumerate(classes)}
    unknown = [name for name in found if name not in index]
    if not unknown:
        return [index[name] for name in found]
    if len(unknown) == len(found) == len(classes) and list(classes) == [str(number) for number in range(len(classes))]:
        return list(range(len(classes)))
    listed = ", ".join(classes[:8]) + (", …" if len(classes) > 8 else "")
    raise ImageError(
        f"class {unknown[0]!r} is not one of the bundle's {len(classes)} classes: {listed}; "
        "name the set's classes as the bundle does"
    )


@dataclass(frozen=True)
class ImageFiles:
    """Image files below a folder."""

    name: str
    root: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...] | None

    def __post_init__(self) -> None:
        if not self.paths:
            raise ImageError(f"no images in {self.root}; Pillow reads files such as .jpg, .png, .webp")

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Sample]:
        for number, path in enumerate(self.paths):
            name = path.relative_to(self.root).as_posix()
            yield Sample(name, self.labels[number] if self.labels else None, partial(read_image, path, name))


def _labelled_folder(path: Path, classes: Sequence[str], limit: int | None) -> ImageFiles:
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if not folders:
        raise ImageError(f"{path} has no class sub-folders; {LABELLED}")
    splits = [str(folder) for folder in folders if folder.name in SPLITS - set(classes)]
    if splits:
        raise ImageError(f"{path} holds parts of a data set, not classes; give one of them: {', '.join(splits)}")
    indices = match_classes([folder.name for folder in folders], classes)
    labelled = [(file, label) for folder, label in zip(folders, indices, strict=True) for file in image_files(folder)]
    kept = [labelled[number] for number in _spread(len(labelled), limit)]
    return ImageFiles(path.name, path, tuple(file for file, _ in kept), tuple(label for _, label in kept))


def _spread(count: int, limit: int | None) -> list[int]:
    if limit is None or limit >= count:
        return list(range(count))
    return [number * count // limit for number in range(limit)]


class ParquetImages:
    """Rows of a parquet file with columns `image` ({bytes, path}) and `label` (an integer)."""

    def __init__(self, path: Path, classes: Sequence[str], limit: int | None = None) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise ImageError(f"{path.name} needs pyarrow, which is not installed; pip install pyarrow") from None
        try:
            self._file = parquet.ParquetFile(path)
        except pyarrow.ArrowException as error:
            raise ImageError(f"{path} is no parquet file: {error}") from None
        if not {"image", "label"} <= set(self._file.schema_arrow.names):
            found = ", ".join(self._file.schema_arrow.names)
            raise ImageError(f"{path.name} must have columns image and label, found: {found}")
        self.name = path.name
        self._class_count = len(classes)
        names = _class_names(self._file.schema_arrow.metadata or {})
        self._indices = match_classes(names, classes) if names else list(range(len(classes)))
        self._kept = _spread(self._file.metadata.num_rows, limit)
        if not self._kept:
            raise ImageError(f"{path.name} has no rows")

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Sample]:
        kept = iter(self._kept)
        wanted = next(kept)
        row = 0
        for batch in self._file.iter_batches(PARQUET_ROWS_PER_READ, columns=["image", "label"]):
            while wanted < row + batch.num_rows:
                yield self._sample(wanted, batch["image"][wanted - row].as_py(), batch["label"][wanted - row].as_py())
                if (following := next(kept, None)) is None:
                    return
                wanted = following
            row += batch.num_rows

    def _sample(self, row: int, image: Any, label: Any) -> Sample:
        name = f"row {row}"
        if not isinstance(label, int) or not 0 <= label < len(self._indices):
            raise ImageError(f"{name} of {self.name} has label {label}; valid: 0…{len(self._indices) - 1}")
        path = image.get("path") if isinstance(image, dict) else None
        return Sample(path or name, self._indices[label], partial(_embedded, image, f"{name} of {self.name}"))


def _embedded(image: Any, name: str) -> bytes:
    if not isinstance(image, dict) or not isinstance(image.get("bytes"), bytes):
        raise ImageError(f"{name} holds no image bytes; embed the images in the parquet file")
    data: bytes = image["bytes"]
    return data


def _class_names(metadata: dict[bytes, bytes]) -> list[str]:
    """Return the label names that Hugging Face `datasets` writes into a parquet file's metadata, or none."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, ValueError, TypeError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []
