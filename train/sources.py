"""Where labelled images come from: class folders, parquet files, the Hugging Face Hub. All become the same rows."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import Tensor

from common.images import check_header, image_files, read_image
from train.errors import DataError

LAYOUT = (
    "a folder with one sub-folder per class (or with folders train, calibration, test of those), .parquet file(s), "
    "or the name user/set of a set on the Hugging Face Hub"
)
SPLITS = {"train", "calibration", "val", "validation", "test"}
"""Names that folders of a data set's parts go by."""
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")

Features = Mapping[str, Any]


@dataclass(frozen=True)
class ImageFile:
    """One image, undecoded."""

    name: str
    content: bytes | Path
    """The file's bytes, or where they are."""

    def read(self) -> bytes:
        """Return the file's bytes; raises DamagedImageError."""
        return read_image(self.content, self.name) if isinstance(self.content, Path) else self.content

    def check(self) -> None:
        """Raise DamagedImageError when the file does not begin like an image of bearable size."""
        check_header(self.content, self.name)


@dataclass(frozen=True)
class Rows:
    """Labelled image files in a fixed order."""

    source: str
    table: datasets.Dataset
    """Columns image, {bytes, path}, and label, a whole number."""
    classes: tuple[str, ...] | None
    """Class names in label order; None where the source names none."""
    root: Path = Path()
    """What paths in the table are relative to."""

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def labels(self) -> Tensor:
        """Return all labels, int64 (n,)."""
        labels = self.table["label"][:]
        if None in labels:
            raise DataError(f"{self.source} has no label in row {labels.index(None)}; label every image or remove it")
        return torch.tensor(labels, dtype=torch.int64)

    def files(self, start: int, stop: int) -> Iterator[ImageFile]:
        """Yield the image files of rows start … stop − 1. Any number of threads may do so at once."""
        for number, image in enumerate(self.table[start:stop]["image"], start):
            path = image["path"] if image else None
            embedded = image["bytes"] if image else b""
            content = self.root / path if embedded is None and path else embedded or b""
            yield ImageFile(path or f"row {number}", content)


def open_rows(source: Path | str, split: str) -> Rows:
    """Return one split of a labelled image set, at least one row; raises DataError when there is none."""
    path = Path(source)
    if not path.exists() and _is_hub_name(path):
        rows = _open_hub(path.as_posix(), split)
    elif path.suffix == ".parquet" or any(path.glob("*.parquet")):
        rows = _open_parquet(path, split)
    else:
        rows = _open_folder(path, split)
    if not len(rows):
        raise DataError(f"no images in {source}; give {LAYOUT}")
    return rows


def _is_hub_name(path: Path) -> bool:
    name = r"[A-Za-z0-9][\w.-]*"
    return path.suffix != ".parquet" and re.fullmatch(f"{name}/{name}", path.as_posix()) is not None


def _open_hub(name: str, split: str) -> Rows:
    try:
        table = datasets.load_dataset(name, split=split)
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"there is no folder {name}, and split {split!r} of the Hugging Face set {name} cannot be had: {reason}; "
            "check the name, the split, the network and, for a private set, `hf auth login`"
        ) from error
    return _rows_of_table(name, table)


def _open_parquet(path: Path, split: str) -> Rows:
    files = [path] if path.is_file() else sorted(path.glob(f"{split}-*.parquet"))
    if not files:
        found = ", ".join(sorted({file.name.split("-")[0] for file in path.glob("*.parquet")})) or "nothing"
        raise DataError(f"no {split}-*.parquet in {path} (found: {found}); give another --split, or {LAYOUT}")
    datasets.disable_progress_bars()
    try:
        table = datasets.load_dataset("parquet", data_files=[str(file) for file in files], split="train")
    except (datasets.exceptions.DatasetGenerationError, ValueError, OSError) as error:
        raise DataError(f"{path} is not a readable parquet image set; give {LAYOUT}") from error
    return _rows_of_table(str(path), table)


def _rows_of_table(source: str, table: datasets.Dataset) -> Rows:
    image, label = _image_column(table.features), _label_column(table.features)
    if image is None or label is None:
        found = ", ".join(f"{name} ({_kind(feature)})" for name, feature in table.features.items())
        raise DataError(
            f"{source} has columns {found}; an image set needs images in a column {' or '.join(IMAGE_COLUMNS)} and "
            f"whole-number classes in a column {', '.join(LABEL_COLUMNS[:-1])} or {LABEL_COLUMNS[-1]}"
        )
    feature = table.features[label]
    chosen = table.select_columns([image, label]).rename_columns({image: "image", label: "label"})
    names = tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None
    return Rows(source, chosen.cast_column("image", datasets.Image(decode=False)), names)


def _image_column(features: Features) -> str | None:
    """Return the column of images: by its name, or the only one there is."""
    typed = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    stored = [name for name, feature in features.items() if isinstance(feature, dict) and "bytes" in feature]
    return _first_or_only(IMAGE_COLUMNS, {*typed, *stored}, typed)


def _label_column(features: Features) -> str | None:
    """Return the column of labels: by its name, or the only one of classes."""
    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    integers = [name for name, feature in features.items() if re.fullmatch(r"u?int\d+", _kind(feature))]
    return _first_or_only(LABEL_COLUMNS, {*classes, *integers}, classes)


def _first_or_only(usual: tuple[str, ...], valid: set[str], certain: list[str]) -> str | None:
    named = [name for name in usual if name in valid]
    if named:
        return named[0]
    return certain[0] if len(certain) == 1 else None


def _kind(feature: Any) -> str:
    return str(feature.dtype) if isinstance(feature, datasets.Value) else type(feature).__name__


def _open_folder(path: Path, split: str) -> Rows:
    root = _split_folder(path, split)
    folders = _visible_folders(root)
    if not folders:
        raise DataError(f"no labelled images at {path}; give {LAYOUT}")
    found = [(file, label) for label, folder in enumerate(folders) for file in image_files(folder)]
    columns = {"image": [str(file.relative_to(root)) for file, _ in found], "label": [label for _, label in found]}
    features = datasets.Features(image=datasets.Value("string"), label=datasets.Value("int64"))
    table = datasets.Dataset.from_dict(columns, features).cast_column("image", datasets.Image(decode=False))
    return Rows(str(path), table, tuple(folder.name for folder in folders), root)


def _split_folder(path: Path, split: str) -> Path:
    """Return the folder whose sub-folders are classes: a class may go by the name of a split, but holds none."""
    splits = [folder.name for folder in _visible_folders(path) if folder.name in {*SPLITS, split}]
    splits = [name for name in splits if _visible_folders(path / name)]
    if splits and split not in splits:
        raise DataError(f"{path} has no split {split!r}; valid: {', '.join(splits)}")
    return path / split if splits else path


def _visible_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    folders = (entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return sorted(folders, key=lambda folder: folder.name)
