"""The images a conversion measures activation ranges and accuracy on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.runtime.image_sets import open_images, open_labelled
from edge.runtime.images import Preprocessing
from train.spec import SupernetSpec


@dataclass(frozen=True)
class CheckImages:
    """Preprocessed images, [1, size, size, 3] float32 each; `labels` is empty for an unlabelled set."""

    source: str
    images: Sequence[NDArray[np.float32]] = field(repr=False)
    labels: Sequence[int] = field(repr=False)


def load_check_images(path: Path, spec: SupernetSpec, classes: Sequence[str], limit: int) -> CheckImages:
    """Return up to `limit` images, spread evenly: a folder with class sub-folders, parquet, or unlabelled images."""
    preprocess = Preprocessing(spec.resolution, spec.mean, spec.std, "NHWC")
    labelled = path.suffix == ".parquet" or (path.is_dir() and bool(class_folders(path)))
    samples = open_labelled(path, classes, limit) if labelled else open_images(path, limit)
    images, labels = [], []
    for sample in samples:
        images.append(preprocess(sample.data, sample.name))
        labels += [] if sample.label is None else [sample.label]
    return CheckImages(path.name, images, labels)


def class_folders(folder: Path) -> list[Path]:
    """Return the sub-folders of an image folder that stand for classes; hidden ones do not."""
    return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]


def noise_images(spec: SupernetSpec, count: int, seed: int) -> CheckImages:
    """Return images of Gaussian noise, for untrained networks: latency does not depend on what is in an image."""
    generator = np.random.default_rng(seed)
    shape = (1, spec.resolution, spec.resolution, 3)
    return CheckImages("noise", [generator.standard_normal(shape).astype(np.float32) for _ in range(count)], [])
