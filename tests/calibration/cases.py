"""Latency tables and predictions for the golden bundle, small enough to reason about."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle.reader import Bundle, open_bundle
from edge.profiling.latency_table import FORMAT as LATENCY
from edge.profiling.latency_table import Entry, LatencyTable, Run, save_latency
from edge.runtime.predictions import FORMAT as PREDICTIONS
from edge.runtime.predictions import Metadata, Predictions, save_predictions

OTHER_SHA256 = "f" * 64


@dataclass(frozen=True)
class Case:
    """A copy of the golden bundle with files that fit it."""

    root: Path
    latency: Path
    predictions: Path

    @property
    def bundle(self) -> Bundle:
        return open_bundle(self.root)


def run_of(bundle: Bundle, samples: dict[int, list[list[float]]], **changes: object) -> Run:
    """Return a run with the given blocks of end-to-end samples per width, and misleading samples of the tails alone."""
    artifact = bundle.artifact()
    fields = {
        "device": "phone",
        "environment": {},
        "runtime": artifact.runtime,
        "precision": artifact.precision,
        "threads": 1,
        "artifact_sha256": artifact.sha256,
        "seed": 0,
        "entries": [
            entry
            for width, blocks in samples.items()
            for entry in (
                entry_of([f"tail_{width:02d}"], [[1000.0]]),
                entry_of(["prefix", f"tail_{width:02d}"], blocks),
            )
        ],
        "complete": True,
        **changes,
    }
    return Run.model_validate(fields)


def entry_of(programs: list[str], blocks: list[list[float]]) -> Entry:
    return Entry(
        programs=programs, first_run_ms=9.0, warm_up_runs=1, blocks_ms=blocks, block_order=list(range(len(blocks)))
    )


def predictions_of(bundle: Bundle, images: int = 400, seed: int = 0, **changes: object) -> Predictions:
    """Return predictions in which the gate sees, through noise, which images need the wide width."""
    random = np.random.default_rng(seed)
    difficulty = random.random(images)
    gate = difficulty + 0.2 * random.standard_normal(images)
    artifact = bundle.artifact()
    fields = {
        "format": PREDICTIONS,
        "runtime": artifact.runtime,
        "precision": artifact.precision,
        "artifact_sha256": artifact.sha256,
        "widths": [0, 1],
        "decisions": [{"widths": [0, 1], "choices": [0, 1]}],
        "data": "images",
        "data_sha256": "a" * 64,
        **changes,
    }
    hit: NDArray[np.bool_] = difficulty[:, None] < np.array([0.5, 0.8])
    return Predictions(
        metadata=Metadata.model_validate(fields),
        gate_logits=np.stack([np.zeros(images), 4 * gate - 2], axis=1).astype(np.float32),
        hit=hit,
        loss=np.where(hit, 0.1, 2.0).astype(np.float32),
        confidence=np.clip(1.2 - difficulty[:, None] / [1.0, 1.6], 0.1, 1.0).astype(np.float32),
        label=np.zeros(images, np.int32),
    )


def case_in(folder: Path, golden: Path) -> Case:
    """Copy the golden bundle and write a latency table, with widths of 1 and 3 ms, and predictions that fit it."""
    root = folder / "bundle"
    shutil.copytree(golden / "bundle", root)
    bundle = open_bundle(root)
    case = Case(root, folder / "latency.json", folder / "predictions.npz")
    run = run_of(bundle, {0: [[0.9, 1.0], [1.1, 1.0]], 1: [[2.9, 3.0], [3.1, 3.0]]})
    save_latency(case.latency, LatencyTable(format=LATENCY, runs=[run]))
    save_predictions(case.predictions, predictions_of(bundle))
    return case
