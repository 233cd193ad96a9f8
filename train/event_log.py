"""Training as TensorBoard shows it: losses, speed and held-out accuracies over the steps.

loss/width 3, loss/gate, …    training loss by what was trained
images_per_second             over all processes
accuracy/width 0, …           share of held-out images classified right, 0…1, after every epoch
"""

import sys
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Self

from train.progress import Progress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NO_TENSORFLOW = "tensorboard.compat.notf"
"""TensorBoard's own switch: where this module exists, it writes files by itself and leaves TensorFlow alone."""


class EventLog:
    """Writes every report to an event file in `folder`; a context manager that closes it.

    first_step: the steps that the run has finished already. What an interrupted run logged beyond them is hidden, so
    every step has one value however often a run is resumed.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self.writer = _writer(folder, first_step + 1)

    def __call__(self, state: Progress) -> None:
        """Log one report."""
        for name, loss in state.losses.items():
            self.writer.add_scalar(f"loss/{name}", loss, state.done)
        if state.images_per_second is not None:
            self.writer.add_scalar("images_per_second", state.images_per_second, state.done)
        for name, share in state.accuracies.items():
            self.writer.add_scalar(f"accuracy/{name}", share, state.done)
        # The state that a run resumes from is saved after a report: what it covers must be on disk by then.
        self.writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()


def _writer(folder: Path, purge_step: int) -> "SummaryWriter":
    # Otherwise a TensorFlow that happens to be installed is loaded, for seconds and with messages on stderr.
    sys.modules.setdefault(NO_TENSORFLOW, ModuleType(NO_TENSORFLOW))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=purge_step)
