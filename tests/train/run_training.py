"""A short training run in processes of its own: FOLDER for the state, OUT for the trained tensors (.npz)."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric

from tests.train.networks import MICRO, MICRO_STAGE, coloured_images
from train import loop
from train.loop import Setting
from train.progress import Progress
from train.run_folder import RunFolder
from train.supernet_stage import train_supernet


def main(folder: Path, out: Path) -> None:
    """Train on the CPU with PROCESSES processes and ACCUMULATE parts each, saving and reporting after every step."""
    torch.set_num_threads(1)
    loop.SAVE_SECONDS = loop.REPORT_SECONDS = 0.0
    fabric = Fabric(accelerator="cpu", devices=int(os.environ.get("PROCESSES", "1")))
    fabric.launch()
    config = replace(MICRO_STAGE, epochs=6, batch_size=20, accumulate=int(os.environ.get("ACCUMULATE", "1")))
    losses: list[float] = []
    collectives: list[int] = []
    reduce = fabric.all_reduce

    def counted(data: torch.Tensor, **options: str) -> object:
        collectives.append(data.numel())
        return reduce(data, **options)

    fabric.all_reduce = counted  # type: ignore[method-assign, assignment]

    def note(state: Progress) -> None:
        losses.append(sum(state.losses.values()))

    tensors = train_supernet(
        MICRO, coloured_images(60), config, 5, setting=Setting(fabric, RunFolder(folder, {}), note)
    )
    if fabric.is_global_zero:
        np.savez(out, **tensors)
        if "LOSSES" in os.environ:
            Path(os.environ["LOSSES"]).write_text(json.dumps({"losses": losses, "collectives": len(collectives)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
