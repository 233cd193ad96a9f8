"""Two releases of the golden bundle, each with a latency table and predictions, that differ by known amounts."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common import sha256_file
from edge.bundle.reader import Bundle, open_bundle
from edge.bundle.writer import write_manifest
from edge.diff import Evidence, gather
from edge.profiling.latency_table import FORMAT, LatencyTable, save_latency
from edge.runtime.predictions import save_predictions
from tests.calibration.cases import predictions_of, run_of
from tests.profiling.runs import noisy_blocks

WIDTHS_MS = {0: 1.0, 1: 3.0}
BLOCKS = 30


@dataclass(frozen=True)
class Release:
    """A bundle in a folder with what was measured of it."""

    root: Path
    latency: Path
    predictions: Path

    @property
    def bundle(self) -> Bundle:
        return open_bundle(self.root)

    @property
    def evidence(self) -> Evidence:
        return gather(self.bundle, [self.latency], [self.predictions])


def release(folder: Path, golden: Path, padding: int = 0, slower: float = 1.0, lost: float = 0.0) -> Release:
    """Make a release whose artifact is longer by `padding` bytes, whose widths are slower, and whose answers to a
    share `lost` of the images that were right are wrong.

    Bundles of different padding have different artifacts; times of different folders have different noise.
    """
    root = folder / "bundle"
    shutil.copytree(golden / "bundle", root)
    _pad(root, padding)
    made = Release(root, folder / "latency.json", folder / "predictions.npz")
    write_latency(made, slower)
    write_predictions(made, lost)
    return made


def write_latency(made: Release, slower: float = 1.0, blocks: int = BLOCKS, repeat: int = 0, **changes: object) -> None:
    """Replace a release's latency table by a run with `blocks` noisy blocks of every width.

    Runs of different `repeat` have different noise.
    """
    seed = sum(map(ord, made.root.parent.name)) + 1000 * repeat
    samples = {width: noisy_blocks(ms * slower, blocks, 100 * seed + width) for width, ms in WIDTHS_MS.items()}
    run = run_of(made.bundle, samples, **{"device": "local", **changes})
    save_latency(made.latency, LatencyTable(format=FORMAT, runs=[run]))


def write_predictions(made: Release, lost: float = 0.0, images: int = 4000, **changes: object) -> None:
    """Replace a release's predictions, in which a share `lost` of the right answers has become wrong."""
    right = predictions_of(made.bundle, images, **changes)
    kept = np.random.default_rng(1).random(images) >= lost
    save_predictions(made.predictions, replace(right, hit=right.hit & kept[:, None]))


def change_manifest(made: Release, **changes: object) -> None:
    """Replace fields of a release's manifest."""
    write_manifest(made.root, made.bundle.manifest.model_copy(update=changes))


def _pad(root: Path, padding: int) -> None:
    manifest = open_bundle(root).manifest
    (artifact,) = manifest.artifacts
    path = root / artifact.file
    path.write_bytes(path.read_bytes() + bytes(padding))
    changed = artifact.model_copy(update={"bytes": path.stat().st_size, "sha256": sha256_file(path)})
    points = [point.model_copy(update={"artifact_sha256": changed.sha256}) for point in manifest.operating_points]
    write_manifest(root, manifest.model_copy(update={"artifacts": [changed], "operating_points": points}))
