"""Sets of images on disk: a file, a folder (class sub-folders are labels), or a parquet file in Hugging Face layout."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from edge.runtime.images import MAX_FILE_BYTES, ImageError

PARQUET_ROWS_PER_READ = 64
LABELLED = "name a folder with one sub-folder per class, or a .parquet file with columns image and label"


@dataclass(frozen=True)
class Sample:
    """One image as it lies on disk, undecoded."""

    name: str
    data: bytes = field(repr=False)
    label: int | None
    """Index into the bundle's classes, where the set has labels."""


class ImageSet(Protocol):
    """Images in a fixed order."""

    @property
    def name(self) -> str:
        """Return the set's last path component."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __iter__(self) -> Iterator[Sample]:
        """Yield the images in order; raises ImageError for a file too large to be an image."""


def open_images(path: Path) -> ImageSet:
    """Return the images at `path` (one file, or a folder and all below it), without labels; raises ImageError."""
    if path.is_dir():
        return ImageFiles(path.name, path, tuple(_image_files(path)), None)
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

    By name where the bundle knows them all. A set of exactly as many classes of which the bundle knows none is taken to
    be in the bundle's order (class names are often written two ways). Anything else raises ImageError.
    """
    index = {name: number for number, name in enumerate(classes)}
    unknown = [name for name in found if name not in index]
    if not unknown:
        return [index[name] for name in found]
    if len(unknown) == len(found) == len(classes):
        return list(range(len(classes)))
    listed = ", ".join(classes[:8]) + (", …" if len(classes) > 8 else "")
    raise ImageError(f"class {unknown[0]!r} is not one of the bundle's {len(classes)} classes: {listed}")


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
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ImageError(f"{name} has {path.stat().st_size} bytes; the limit is {MAX_FILE_BYTES}")
            yield Sample(name, path.read_bytes(), self.labels[number] if self.labels else None)


def _labelled_folder(path: Path, classes: Sequence[str], limit: int | None) -> ImageFiles:
    folders = sorted((folder for folder in path.iterdir() if folder.is_dir()), key=lambda folder: folder.name)
    if not folders:
        raise ImageError(f"{path} has no class sub-folders; {LABELLED}")
    indices = match_classes([folder.name for folder in folders], classes)
    labelled = [(file, label) for folder, label in zip(folders, indices, strict=True) for file in _image_files(folder)]
    kept = [labelled[number] for number in _spread(len(labelled), limit)]
    return ImageFiles(path.name, path, tuple(file for file, _ in kept), tuple(label for _, label in kept))


def _image_files(folder: Path) -> list[Path]:
    readable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in readable and file.is_file())


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
        if not isinstance(image, dict) or not isinstance(image.get("bytes"), bytes):
            raise ImageError(f"{name} of {self.name} holds no image bytes; embed the images in the parquet file")
        if not isinstance(label, int) or not 0 <= label < len(self._indices):
            raise ImageError(f"{name} of {self.name} has label {label}; valid: 0…{len(self._indices) - 1}")
        return Sample(image.get("path") or name, image["bytes"], self._indices[label])


def _class_names(metadata: dict[bytes, bytes]) -> list[str]:
    """Return the label names that Hugging Face `datasets` writes into a parquet file's metadata, or none."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, ValueError, TypeError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []
