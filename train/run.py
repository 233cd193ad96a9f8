"""One training run as the command line arranges it: processes, images, record, state, what the terminal shows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from train.checkpoint import Checkpoint
    from train.config import StageConfig
    from train.data import ImageSet
    from train.loop import Setting
    from train.progress import Progress, Report
    from train.spec import SupernetSpec


def launched(stage: "StageConfig", devices: int, nodes: int) -> "Fabric":
    """Return the launched processes, one per device; those of torchrun must be as many.

    Any other number is a ConfigError: each process would train by itself and write the same files.
    """
    import logging
    import os

    from lightning.fabric import Fabric

    from train.errors import ConfigError

    started = os.environ.get("WORLD_SIZE", "")
    if started.isdigit() and int(started) != devices * nodes:
        raise ConfigError(
            f"{started} processes were started, but --devices {devices} and --nodes {nodes} make {devices * nodes}; "
            "give the processes per machine and the machines"
        )
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    fabric = Fabric(devices=devices, num_nodes=nodes, precision=stage.precision)
    fabric.launch()
    return fabric


def opened_images(
    fabric: "Fabric", data: str, spec: "SupernetSpec", split: str, resolution: int | None = None
) -> "ImageSet":
    """Open an image set in every process; the first says on stderr which images are damaged."""
    from train.data import damage_report, load_images

    images = load_images(data, spec, split, resolution)
    left_out = damage_report(images)
    if left_out and fabric.is_global_zero:
        typer.echo(left_out, err=True)
    return images


def run_folder(out: Path) -> Path:
    """Return where a run keeps its state when no folder is named."""
    return out.with_name(out.name + ".run")


def run_settings(
    stage: str,
    spec: "SupernetSpec",
    config: "StageConfig",
    seed: int,
    images: "ImageSet",
    start: "Checkpoint | None",
    fabric: "Fabric",
) -> dict[str, Any]:
    """Return all that the trained network depends on, of the images their classes and labels: a run with other settings
    does not resume."""
    from dataclasses import asdict

    from train.data import digest

    return {
        "stage": stage,
        "spec": spec.to_json(),
        "config": asdict(config),
        "seed": seed,
        "images": digest(images),
        "parent_sha256": start.sha256 if start else None,
        "processes": fabric.world_size,
    }


@contextmanager
def run_setting(fabric: "Fabric", root: Path, settings: dict[str, Any], description: str) -> "Iterator[Setting]":
    """Yield where and how to train: progress on the terminal and in TensorBoard's log, both by the first process."""
    from train.event_log import EventLog
    from train.loop import Setting
    from train.run_folder import RunFolder

    folder = RunFolder(root, settings)
    if not fabric.is_global_zero:
        yield Setting(fabric, folder)
        return
    found = folder.load()
    first = found.step if found else 0
    if first:
        typer.echo(f"resuming {root} at step {first}", err=True)
    with EventLog(root, first) as log, progress_bar(description) as show:

        def report(state: "Progress") -> None:
            log(state)
            show(state)

        yield Setting(fabric, folder, report)


def provenance(
    command: str,
    seed: int,
    data: str,
    images: "ImageSet",
    start: "Checkpoint | None",
    stage: "StageConfig",
    fabric: "Fabric",
) -> dict[str, Any]:
    """Return how a checkpoint came about, for its header."""
    from dataclasses import asdict

    import torch

    return {
        "command": command,
        "seed": seed,
        "data": {"name": Path(data).resolve().name, "images": images.count},
        "classes": list(images.classes),
        "parent_sha256": start.sha256 if start else None,
        "parent_spec": start.spec.name if start else None,
        "parent_provenance": start.provenance if start else None,
        "config": asdict(stage),
        "processes": fabric.world_size,
        "device": fabric.device.type,
        "torch": torch.__version__,
    }


def finish(setting: "Setting", save: "Callable[[], None]") -> None:
    """Write the checkpoint, then drop the state: in this order, so that a kill between them costs nothing."""
    if setting.fabric.is_global_zero:
        save()
        if setting.folder:
            setting.folder.finish()


def write_checkpoint(
    out: Path, spec: "SupernetSpec", tensors: Any, provenance: dict[str, Any], half: bool, as_json: bool
) -> None:
    """Write a checkpoint and say so: a line for people, or JSON."""
    from common import sha256_file
    from common.console import print_json
    from train.checkpoint import save_checkpoint

    save_checkpoint(out, spec, tensors, provenance, half)
    if as_json:
        print_json({"checkpoint": str(out), "sha256": sha256_file(out), "spec": spec.name, "provenance": provenance})
    else:
        typer.echo(f"{out}: {spec.name}, {spec.n_widths} widths, {out.stat().st_size / 1e6:.2f} MB")


@contextmanager
def progress_bar(description: str) -> "Iterator[Report]":
    """Show a progress bar on stderr, and a line per epoch; the yielded callback moves it."""
    from common.console import progress

    with progress() as bar:
        task = bar.add_task(description, total=None)

        def report(state: "Progress") -> None:
            shown = "  ".join([description, *_losses(state), *_speed(state)])
            bar.update(task, completed=state.done, total=state.total, description=shown)
            if state.accuracies:
                bar.console.print(f"step {state.done} of {state.total}: held-out top-1  {_accuracies(state)}")

        yield report


def _losses(state: "Progress") -> list[str]:
    return [f"{name} {loss:.3f}" for name, loss in state.losses.items()]


def _speed(state: "Progress") -> list[str]:
    return [] if state.images_per_second is None else [f"{state.images_per_second:.0f} images/s"]


def _accuracies(state: "Progress") -> str:
    return "  ".join(f"{name} {share:.1%}" for name, share in state.accuracies.items())
