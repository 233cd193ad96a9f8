"""`dsnet demo`."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything the walk leaves behind.")] = Path(
        "runs/demo"
    ),
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Epochs of either training stage; default: the config's.")
    ] = None,
) -> None:
    """Walk the whole line on a small set of real images.

    Trains ds_mbv1_tiny on scikit-learn's 1,797 handwritten digits, converts it to a LiteRT bundle, measures every
    width on this machine, calibrates the gate to three budgets and runs images that nothing has seen before. Every
    step is an ordinary command, printed before it runs.
    """
    from demo.walk import walk

    walk(out, epochs)
