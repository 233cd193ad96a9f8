"""The folder of one training run: the state to resume from and what was logged. No pickle: the state is safetensors.

    RUN/state.safetensors   every tensor that training carries on with; settings and step in its metadata
    RUN/events.out.tfevents.*   TensorBoard

The state is replaced whole, so a run killed at any moment resumes from the last one written. Because every random draw
is a function of the seed and the step (sampling.py), the step is all that there is to know about randomness.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import save_file
from torch import Tensor

from common import atomic_write
from train.errors import TrainError

STATE_FILE = "state.safetensors"
FORMAT = "dsnet-training/1"


@dataclass
class State:
    """What training carries from step to step."""

    step: int
    """Steps finished."""
    tensors: dict[str, Tensor]
    """Network, average and what the optimiser remembers, by name."""


class RunFolder:
    """One folder, one run with one set of settings."""

    def __init__(self, root: Path, settings: Mapping[str, Any]) -> None:
        self.root = root
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))

    @property
    def state_file(self) -> Path:
        """Return where the state is kept."""
        return self.root / STATE_FILE

    def save(self, state: State) -> None:
        """Replace the state on disk, whole or not at all."""
        record = {"step": state.step, "settings": self.settings}
        with atomic_write(self.state_file) as temporary:
            save_file(state.tensors, temporary, {"format": FORMAT, "run": json.dumps(record)})

    def load(self) -> State | None:
        """Return the state to resume from, None where there is none yet.

        A state of other settings, or one that cannot be read, is a TrainError.
        """
        if not self.state_file.is_file():
            return None
        try:
            with safetensors.safe_open(self.state_file, "pt") as file:
                metadata = file.metadata() or {}
                record = json.loads(metadata["run"])
                self._check(metadata["format"], record["settings"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 – no mapping
            return State(int(record["step"]), tensors)
        except (safetensors.SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise TrainError(f"{self.state_file} is no training state; delete it to start anew") from error

    def finish(self) -> None:
        """Delete the state: the run is over and its result is elsewhere."""
        self.state_file.unlink(missing_ok=True)

    def _check(self, found: str, settings: Mapping[str, Any]) -> None:
        if found != FORMAT:
            raise TrainError(f"{self.state_file} has format {found!r:.60}, this version resumes {FORMAT!r}; delete it")
        differing = sorted(
            name for name in {*settings, *self.settings} if settings.get(name) != self.settings.get(name)
        )
        if differing:
            raise TrainError(
                f"{self.root} holds an unfinished run with other settings ({', '.join(differing)} differ); "
                "repeat the command with its settings to resume it, give another --run, or delete the folder"
            )
