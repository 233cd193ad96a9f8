"""How long work tells its caller how far it is. Loads no torch."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """The state after one step."""

    done: int
    """Steps finished."""
    total: int
    """Steps in all."""
    loss: float | None = None
    """Training loss of the last step; None where nothing is trained."""


Report = Callable[[Progress], None]
"""Called after every step."""


def ignore(_: Progress) -> None:
    """Report to nobody."""
