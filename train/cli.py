"""The training commands: `dsnet init`, `dsnet train supernet`, `dsnet train gate`, `dsnet evaluate`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from train.checkpoint import Checkpoint
    from train.config import TrainConfig
    from train.data import ImageSet
    from train.evaluate import Evaluation
    from train.progress import Report
    from train.spec import SupernetSpec

Out = Annotated[Path, typer.Option(help="Checkpoint to write, a .safetensors file.", show_default=False)]
Data = Annotated[
    Path,
    typer.Option(
        help="Labelled images: class sub-folders (or train, calibration, test folders of those), or .parquet.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of every random draw.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the images; default: the config's.")]
BatchSize = Annotated[int | None, typer.Option(min=2, help="Images per step; default: the config's.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file with tables supernet and gate; default: the one tuned for the spec."),
]
Threads = Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads; default: one per core.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print machine-readable results.")]

train_app = typer.Typer(
    help="Train a supernet, then its gate.", add_completion=False, rich_markup_mode=None, no_args_is_help=True
)


def init(
    out: Out,
    spec: Annotated[str, typer.Option(help="A shipped network or the path of a .json spec.")] = "ds_mbv1_tiny",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Write an untrained supernet, so that latency can be measured before anyone trains."""
    from common import check_writable
    from train.initialise import initial_tensors
    from train.spec import load_spec

    check_writable(out)
    network = load_spec(spec)
    _save(out, network, initial_tensors(network, seed), {"command": "init", "seed": seed}, as_json)


@train_app.command("supernet")
def train_supernet(
    data: Data,
    out: Out,
    spec: Annotated[
        str | None, typer.Option(help="A shipped network or the path of a .json spec: train from scratch.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Supernet to continue from, instead of --spec.")] = None,
    config: ConfigFile = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Stage I: train all widths together, then recalibrate the batch norm of each."""
    from dataclasses import asdict

    from common import check_writable
    from train import supernet_stage
    from train.data import load_images

    check_writable(out)
    network, start = _network(spec, checkpoint)
    stage = _overridden(_config(config, network).supernet, epochs=epochs, batch_size=batch_size)
    _use_threads(threads)
    images = load_images(data, network)
    with _bar("training the supernet") as report:
        tensors = supernet_stage.train_supernet(network, images, stage, seed, start.tensors if start else None, report)
    record = _provenance("train supernet", seed, data, images, start) | {"config": asdict(stage)}
    _save(out, network, tensors, record, as_json)


@train_app.command("gate")
def train_gate(
    checkpoint: Annotated[Path, typer.Option(help="Trained supernet, a .safetensors file.", show_default=False)],
    data: Data,
    out: Out,
    config: ConfigFile = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Stage II: train the gate of a trained supernet; nothing else changes."""
    from dataclasses import asdict

    from common import check_writable
    from train import gate_stage
    from train.checkpoint import load_checkpoint
    from train.data import load_images

    check_writable(out)
    start = load_checkpoint(checkpoint)
    stage = _overridden(_config(config, start.spec).gate, epochs=epochs, batch_size=batch_size)
    _use_threads(threads)
    images = load_images(data, start.spec)
    with _bar("training the gate") as report:
        tensors = gate_stage.train_gate(start.spec, start.tensors, images, stage, seed, report)
    record = _provenance("train gate", seed, data, images, start) | {"config": asdict(stage)}
    _save(out, start.spec, tensors, record, as_json)


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Supernet, a .safetensors file.", show_default=False)],
    data: Data,
    split: Annotated[
        str, typer.Option(help="Folder or file prefix of the split, where the data has several.")
    ] = "test",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 64,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Print the accuracy of every width of a supernet, and with its own gate deciding."""
    from dataclasses import asdict

    from common.console import print_json
    from train.checkpoint import load_checkpoint
    from train.data import load_images
    from train.evaluate import evaluate_supernet
    from train.supernet import Supernet

    loaded = load_checkpoint(checkpoint)
    _use_threads(threads)
    images = load_images(data, loaded.spec, split)
    with _bar("evaluating") as report:
        result = evaluate_supernet(Supernet.from_tensors(loaded.spec, loaded.tensors), images, batch_size, report)
    if as_json:
        print_json({"checkpoint_sha256": loaded.sha256, "split": split, **asdict(result)})
    else:
        _print_evaluation(loaded.spec.name, result)


def _network(spec: str | None, checkpoint: Path | None) -> "tuple[SupernetSpec, Checkpoint | None]":
    from train.checkpoint import load_checkpoint
    from train.errors import ConfigError
    from train.spec import load_spec, spec_names

    if (spec is None) == (checkpoint is None):
        names = ", ".join(spec_names())
        raise ConfigError(
            f"give exactly one of --spec ({names}, or a .json path) and --checkpoint (a .safetensors file)"
        )
    if checkpoint is not None:
        loaded = load_checkpoint(checkpoint)
        return loaded.spec, loaded
    return load_spec(spec or ""), None


def _config(path: Path | None, spec: "SupernetSpec") -> "TrainConfig":
    from train.config import config_for, load_config

    return load_config(path) if path else config_for(spec.name)


def _overridden(stage: Any, **flags: int | None) -> Any:
    """Return `stage` with every flag that was given in place of the config's value."""
    from dataclasses import replace

    return replace(stage, **{name: value for name, value in flags.items() if value is not None})


def _use_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def _provenance(command: str, seed: int, data: Path, images: "ImageSet", start: "Checkpoint | None") -> dict[str, Any]:
    import torch

    return {
        "command": command,
        "seed": seed,
        "data": {"name": data.resolve().name, "images": images.count},
        "classes": list(images.classes),
        "parent_sha256": start.sha256 if start else None,
        "torch": torch.__version__,
    }


def _save(out: Path, spec: "SupernetSpec", tensors: Any, provenance: dict[str, Any], as_json: bool) -> None:
    from common import sha256_file
    from common.console import print_json
    from train.checkpoint import save_checkpoint

    save_checkpoint(out, spec, tensors, provenance)
    if as_json:
        print_json({"checkpoint": str(out), "sha256": sha256_file(out), "spec": spec.name, "provenance": provenance})
    else:
        typer.echo(f"{out}: {spec.name}, {spec.n_widths} widths, {out.stat().st_size / 1e6:.2f} MB")


@contextmanager
def _bar(description: str) -> "Iterator[Report]":
    """Show a progress bar on stderr; the yielded callback moves it and shows the loss."""
    from common.console import progress
    from train.progress import Progress

    with progress() as bar:
        task = bar.add_task(description, total=None)

        def report(state: Progress) -> None:
            shown = description if state.loss is None else f"{description}, loss {state.loss:.3f}"
            bar.update(task, completed=state.done, total=state.total, description=shown)

        yield report


def _print_evaluation(name: str, result: "Evaluation") -> None:
    from common.console import stdout, table

    rows = [(one.width, f"{one.macs / 1e6:.2f}", f"{one.params / 1e3:.1f}", f"{one.top1:.2%}") for one in result.widths]
    title = f"{name} on {result.images} images"
    stdout().print(table(title, ("width", "MMACs", "params (k)", "top-1"), rows))
    if result.dynamic:
        shares = ", ".join(f"{width}: {share:.0%}" for width, share in result.dynamic.shares.items())
        macs = result.dynamic.mean_macs / 1e6
        typer.echo(f"gate: top-1 {result.dynamic.top1:.2%} at {macs:.2f} MMACs per image (width: share  {shares})")
