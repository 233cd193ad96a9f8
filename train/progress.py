"""How long work tells its caller how far it is. Loads no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """The state after some steps."""

    done: int
    """Steps finished, those of an earlier run that this one continues included."""
    total: int
    """Steps in all."""
    losses: Mapping[str, float] = field(default_factory=dict)
    """Training loss by what was trained (`width 3`, `gate`), of the last step that had it; empty where nothing is."""
    images_per_second: float | None = None
    """Training images per second since the last report, over all processes."""
    accuracies: Mapping[str, float] = field(default_factory=dict)
    """Share of held-out images classified right, 0…1, by network (`width 0`); only in the report after an epoch."""


Report = Callable[[Progress], None]
"""Called every now and then, after every epoch, and after the last step."""


def ignore(_: Progress) -> None:
    """Report to nobody."""
