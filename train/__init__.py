"""Training of dynamic-width supernets. Importing this package loads no torch."""

from train.errors import CheckpointError, ConfigError, DataError, SpecError, TrainError
from train.spec import GateSpec, SideGateSpec, StageSpec, SupernetSpec, load_spec

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "GateSpec",
    "SideGateSpec",
    "SpecError",
    "StageSpec",
    "SupernetSpec",
    "TrainError",
    "load_spec",
]
