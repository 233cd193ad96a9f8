"""Errors of the training side.

TrainError
├── SpecError             a network description that does not hold together
├── CheckpointError       a file that is not a readable supernet checkpoint
├── ConfigError           hyper-parameters that are unknown or out of range
└── DataError             a data set that is missing, empty or unreadable
"""

from collections.abc import Collection
from itertools import islice

from common import DsnetError

LISTED = 3
"""How many names an error shows before it only counts them."""
MAX_NAME = 120
"""Characters shown of a stranger's name."""
MAX_REASON = 160
"""Characters shown of a library's message."""


class TrainError(DsnetError):
    """Root of the training side's errors."""


class SpecError(TrainError):
    """A network description that does not hold together, or a name that is not a known spec."""


class CheckpointError(TrainError):
    """A file that is not a readable supernet checkpoint."""


class ConfigError(TrainError):
    """Hyper-parameters that are unknown or out of range."""


class DataError(TrainError):
    """A data set that is missing, empty or unreadable."""


def listed(names: Collection[str], count: int = LISTED) -> str:
    """Return the first `count` names, and how many more there are."""
    shown = ", ".join(name[:MAX_NAME] for name in islice(names, count))
    return shown if len(names) <= count else f"{shown} and {len(names) - count} more"


def one_line(error: Exception) -> str:
    """Return what a library says is wrong, cut to what fits into a line of ours."""
    return " ".join(str(error).split())[:MAX_REASON]
