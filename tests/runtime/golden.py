"""The golden bundle, its images and what its programs answer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, open_bundle
from edge.bundle.manifest import Artifact

FOLDER = Path(__file__).parents[1] / "golden" / "bundle"
ANSWERS: list[dict[str, Any]] = json.loads((FOLDER.parent / "answers.json").read_text())


def bundle() -> Bundle:
    return open_bundle(FOLDER)


def artifact() -> Artifact:
    return bundle().artifact()


def content() -> bytes:
    return bundle().verified_bytes(artifact())


def image(number: int) -> NDArray[np.float32]:
    """Golden image `number`: value i (row-major) is ((i·37 + number·101) mod 256) / 64 − 2."""
    index = np.arange(8 * 8 * 3)
    return (((index * 37 + number * 101) % 256) / 64 - 2).astype(np.float32).reshape(1, 8, 8, 3)


def answer(number: int, name: str, like: NDArray[Any]) -> NDArray[Any]:
    return np.array(ANSWERS[number][name], like.dtype).reshape(like.shape)
