"""The training commands: init, train supernet, train gate, evaluate."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    out: Annotated[Path, typer.Option(help="Checkpoint to write (.safetensors).")],
    spec: Annotated[str, typer.Option(help="A shipped network or the path of a .json spec.")] = "ds_mbv1_tiny",
    seed: Annotated[int, typer.Option(help="Seed of the weights.", min=0)] = 0,
) -> None:
    """Write an untrained supernet, so that latency can be measured before anyone trains."""
    from train.checkpoint import save_checkpoint
    from train.initialise import initial_tensors
    from train.spec import load_spec

    network = load_spec(spec)
    save_checkpoint(out, network, initial_tensors(network, seed), {"command": "init", "seed": seed})
    typer.echo(f"{out}: untrained {network.name}, {network.n_widths} widths")
