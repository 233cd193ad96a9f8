"""The training commands: `dsnet init`, `dsnet train supernet`, `dsnet train gate`, `dsnet evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from train.run import (
    finish,
    launched,
    opened_images,
    progress_bar,
    provenance,
    run_folder,
    run_setting,
    run_settings,
    write_checkpoint,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from train.checkpoint import Checkpoint
    from train.config import TrainConfig
    from train.costs import CostTarget
    from train.evaluate import Evaluation
    from train.spec import SupernetSpec

Out = Annotated[Path, typer.Option(help="Checkpoint to write, a .safetensors file.", show_default=False)]
Data = Annotated[
    str,
    typer.Option(
        help="Labelled images: class sub-folders (or train, calibration, test folders of those), .parquet, or the name "
        "user/set of a set on the Hugging Face Hub.",
        show_default=False,
    ),
]
TrainSplit = Annotated[str, typer.Option(help="Split to train on, where the data has several.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of every random draw.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the images; default: the config's.")]
BatchSize = Annotated[
    int | None, typer.Option(min=2, help="Images per step, over all processes; default: the config's.")
]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="Peak learning rate; default: the config's.")]
Accumulate = Annotated[
    int | None, typer.Option(min=1, help="Parts per step and process, to need less memory; default: the config's.")
]
Precision = Annotated[
    str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed; default: the config's.", metavar="PRECISION")
]
HoldOut = Annotated[
    float | None,
    typer.Option(
        min=0, max=0.9, help="Share of the images kept for the accuracy after each epoch; default: the config's."
    ),
]
Compile = Annotated[
    bool | None, typer.Option("--compile/--no-compile", help="Compile the network; default: the config's.")
]
Devices = Annotated[int, typer.Option(min=1, help="Processes on this machine, one per GPU (or CPU share).")]
Nodes = Annotated[int, typer.Option(min=1, help="Machines; start the command on each with torchrun.")]
RunDir = Annotated[
    Path | None,
    typer.Option("--run", help="Folder of the run's state and TensorBoard log; default: OUT with .run appended."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file with tables supernet and gate; default: the one tuned for the spec."),
]
Threads = Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads; default: one per core.")]
Half = Annotated[bool, typer.Option("--half", help="Write float16: half the bytes, weights rounded to 11 bits.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print machine-readable results.")]

train_app = typer.Typer(
    help="Train a supernet, then its gates.", add_completion=False, rich_markup_mode=None, no_args_is_help=True
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
    write_checkpoint(out, network, initial_tensors(network, seed), {"command": "init", "seed": seed}, False, as_json)


@train_app.command("supernet")
def train_supernet(
    data: Data,
    out: Out,
    spec: Annotated[
        str | None,
        typer.Option(help="A shipped network or the path of a .json spec: train from scratch, without --checkpoint."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Supernet to continue from; beside --spec, one with smaller depthwise kernels, which become the "
            "centres of that network's."
        ),
    ] = None,
    split: TrainSplit = "train",
    config: ConfigFile = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: Rate = None,
    accumulate: Accumulate = None,
    precision: Precision = None,
    hold_out: HoldOut = None,
    compile_network: Compile = None,
    seed: Seed = 0,
    threads: Threads = None,
    devices: Devices = 1,
    nodes: Nodes = 1,
    run: RunDir = None,
    half: Half = False,
    as_json: AsJson = False,
) -> None:
    """Stage I: train all widths together, then recalibrate the batch norm of each.

    A killed run goes on where it was when the same command is given again.
    """
    from common import check_writable
    from train import supernet_stage
    from train.config import overridden

    check_writable(out)
    network, start, tensors = _beginning(spec, checkpoint)
    stage = overridden(
        _config(config, network).supernet, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
        accumulate=accumulate, precision=precision, hold_out=hold_out, compile=compile_network,
    )  # fmt: skip
    fabric = launched(stage, devices, nodes)
    _use_threads(threads)
    images = opened_images(fabric, data, network, split, stage.decode_resolution)
    settings = run_settings("supernet", network, stage, seed, images, start, fabric)
    with run_setting(fabric, run or run_folder(out), settings, "training the supernet") as setting:
        trained = supernet_stage.train_supernet(network, images, stage, seed, tensors, setting)
        record = provenance("train supernet", seed, data, images, start, stage, fabric)
        finish(setting, lambda: write_checkpoint(out, network, trained, record, half, as_json))


@train_app.command("gate")
def train_gate(
    checkpoint: Annotated[Path, typer.Option(help="Trained supernet, a .safetensors file.", show_default=False)],
    data: Data,
    out: Out,
    target_macs: Annotated[
        float | None, typer.Option(help="Mean multiply-accumulates per image that the gates should meet, such as 20e6.")
    ] = None,
    target_ms: Annotated[
        float | None, typer.Option(help="Mean milliseconds per image that the gates should meet; needs --latency.")
    ] = None,
    latency: Annotated[Path | None, typer.Option(help="Latency table of the device, from dsnet profile.")] = None,
    device: Annotated[str | None, typer.Option(help="Device of the latency table, where it holds several.")] = None,
    bundle_precision: Annotated[
        str | None, typer.Option("--latency-precision", help="Precision in the latency table, where it holds several.")
    ] = None,
    latency_threads: Annotated[
        int | None, typer.Option(min=1, help="Threads in the latency table, where it holds several.")
    ] = None,
    choices: Annotated[
        str | None,
        typer.Option(
            help="Widths that the side gate of a network without a gate chooses between, such as 0,4,9, or all; "
            "default: four, evenly spread."
        ),
    ] = None,
    split: TrainSplit = "train",
    config: ConfigFile = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: Rate = None,
    accumulate: Accumulate = None,
    precision: Precision = None,
    hold_out: HoldOut = None,
    seed: Seed = 0,
    threads: Threads = None,
    devices: Devices = 1,
    nodes: Nodes = 1,
    run: RunDir = None,
    half: Half = False,
    as_json: AsJson = False,
) -> None:
    """Stage II: train the gates of a trained supernet; nothing else changes.

    A network without a gate gets a side gate: a tiny network that looks at the downscaled image, at most 2% of the
    narrowest width's multiply-accumulates.

    A killed run goes on where it was when the same command is given again.
    """
    from common import check_writable
    from train import gate_stage
    from train.checkpoint import load_checkpoint
    from train.config import overridden

    check_writable(out)
    start = load_checkpoint(checkpoint)
    spec, initial = _gated(start, choices, seed)
    stage = overridden(
        _config(config, spec).gate, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
        accumulate=accumulate, precision=precision, hold_out=hold_out,
    )  # fmt: skip
    target = _target(spec, target_macs, target_ms, latency, device, bundle_precision, latency_threads)
    fabric = launched(stage, devices, nodes)
    _use_threads(threads)
    images = opened_images(fabric, data, spec, split, stage.decode_resolution)
    settings = run_settings("gate", spec, stage, seed, images, start, fabric) | {"target": _target_record(target)}
    with run_setting(fabric, run or run_folder(out), settings, "training the gates") as setting:
        tensors = gate_stage.train_gate(spec, initial, images, stage, seed, target, setting)
        record = provenance("train gate", seed, data, images, start, stage, fabric)
        record |= {"target": _target_record(target)}
        finish(setting, lambda: write_checkpoint(out, spec, tensors, record, half, as_json))


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Supernet, a .safetensors file.", show_default=False)],
    data: Data,
    split: Annotated[
        str, typer.Option(help="Folder or file prefix of the split, where the data has several.")
    ] = "test",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 64,
    plot: Annotated[
        Path | None, typer.Option(help="Draw accuracy against multiply-accumulates as PLOT.png and PLOT.svg.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Evaluation to compare with in --plot, from dsnet evaluate --json; repeatable."),
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Print the accuracy of every width of a supernet, and with its own gates deciding.

    A width of a network with several gates stands for a path: which channels each part runs at, from gate to gate.
    """
    import json
    from dataclasses import asdict

    from lightning.fabric import Fabric

    from common import check_writable
    from common.console import print_json
    from train.checkpoint import load_checkpoint
    from train.curves import curve_of, draw, load_curve, published
    from train.errors import ConfigError
    from train.evaluate import evaluate_supernet
    from train.supernet import Supernet

    if against and plot is None:
        raise ConfigError("--against adds curves to a figure; name the figure with --plot")
    loaded = load_checkpoint(checkpoint)
    baselines = [*published(loaded.spec), *map(load_curve, against or [])]
    if plot is not None:
        check_writable(plot.with_name(plot.name + ".png"))
    _use_threads(threads)
    fabric = Fabric(devices=1)
    images = opened_images(fabric, data, loaded.spec, split)
    model = Supernet.from_tensors(loaded.spec, loaded.tensors).to(fabric.device)
    with progress_bar("evaluating") as report:
        result = evaluate_supernet(model, images, batch_size, report)
    record = {"checkpoint_sha256": loaded.sha256, "split": split, **asdict(result)}
    if plot is not None:
        title = f"{loaded.spec.name}, {result.images:,} images of {split}"
        draw(plot, [curve_of(json.dumps(record), checkpoint.stem)], baselines, title)
    if as_json:
        print_json(record)
    else:
        _print_evaluation(loaded.spec.name, result)


def _beginning(
    spec: str | None, checkpoint: Path | None
) -> "tuple[SupernetSpec, Checkpoint | None, Mapping[str, np.ndarray] | None]":
    """Return the network to train, the checkpoint it begins from and the tensors it begins with, if any."""
    from train.checkpoint import load_checkpoint
    from train.errors import ConfigError
    from train.grow import grown
    from train.spec import load_spec, spec_names

    network = None if spec is None else load_spec(spec)
    start = None if checkpoint is None else load_checkpoint(checkpoint)
    if network is not None and start is not None:
        return network, start, grown(network, start.spec, start.tensors)
    if network is not None:
        return network, None, None
    if start is not None:
        return start.spec, start, start.tensors
    raise ConfigError(
        f"there is nothing to train; give --spec ({', '.join(spec_names())}, or a .json path) to train from scratch, "
        "--checkpoint (a .safetensors file) to continue, or both to grow its kernels"
    )


def _gated(start: "Checkpoint", choices: str | None, seed: int) -> "tuple[SupernetSpec, Mapping[str, np.ndarray]]":
    """Return the network whose gate is trained: a checkpoint's, with a side gate if it has none."""
    from common import parse_widths
    from train.errors import ConfigError
    from train.side_gate import add_side_gate, spread_choices

    if start.spec.choices and choices is not None:
        raise ConfigError(f"spec {start.spec.name!r} has gates of its own; --choices is for networks without one")
    if start.spec.choices:
        return start.spec, start.tensors
    every = tuple(range(start.spec.n_widths))
    chosen = spread_choices(len(every)) if choices is None else parse_widths(choices, "--choices") or every
    if len(chosen) < 2 or not set(chosen) <= set(every):
        raise ConfigError(
            f"a gate chooses between two or more of the widths 0…{every[-1]}, not {', '.join(map(str, chosen))}; "
            "change --choices"
        )
    return add_side_gate(start.spec, start.tensors, chosen, seed)


def _config(path: Path | None, spec: "SupernetSpec") -> "TrainConfig":
    from train.config import config_for, load_config

    return load_config(path) if path else config_for(spec.name)


def _use_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def _target(
    spec: "SupernetSpec",
    macs: float | None,
    milliseconds: float | None,
    latency: Path | None,
    device: str | None,
    precision: str | None,
    threads: int | None,
) -> "CostTarget | None":
    from train.costs import latency_target, mac_target
    from train.errors import ConfigError

    if macs is not None and milliseconds is not None:
        raise ConfigError("give --target-macs or --target-ms, not both")
    if (milliseconds is None) != (latency is None):
        raise ConfigError("--target-ms and --latency go together: the table says what each width costs in milliseconds")
    if macs is not None:
        return mac_target(spec, macs)
    if milliseconds is not None and latency is not None:
        return latency_target(spec, latency, milliseconds, device, precision, threads)
    return None


def _target_record(target: "CostTarget | None") -> dict[str, Any] | None:
    from dataclasses import asdict

    return asdict(target) if target else None


def _print_evaluation(name: str, result: "Evaluation") -> None:
    from common.console import stdout, table

    rows = [
        (
            one.width,
            "-".join(map(str, one.path)),
            f"{one.macs / 1e6:.2f}",
            f"{one.params / 1e3:.1f}",
            f"{one.top1:.2%}",
            f"{one.top5:.2%}",
        )
        for one in result.widths
    ]
    title = f"{name} on {result.images} images"
    stdout().print(table(title, ("width", "path", "MMACs", "params (k)", "top-1", "top-5"), rows))
    if result.dynamic:
        shares = ", ".join(f"{width}: {share:.0%}" for width, share in result.dynamic.shares.items() if share)
        macs = result.dynamic.mean_macs / 1e6
        typer.echo(f"gate: top-1 {result.dynamic.top1:.2%} at {macs:.2f} MMACs per image (width: share  {shares})")
