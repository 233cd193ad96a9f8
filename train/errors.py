"""Errors of the training side.

TrainError
├── SpecError             a network description that does not hold together
├── CheckpointError       a file that is not a readable supernet checkpoint
├── ConfigError           hyper-parameters that are unknown or out of range
└── DataError             a data set that is missing, empty or unreadable
"""

from common import DsnetError


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
