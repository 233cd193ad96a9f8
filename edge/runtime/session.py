"""What every runtime's session can do; one file per runtime implements it."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.console import listed
from edge.bundle.manifest import Artifact, Program
from edge.errors import BundleError

Array = NDArray[np.float32] | NDArray[np.int8]


class Session(Protocol):
    """Loaded programs of one artifact. Only the programs asked for at opening are resident."""

    @property
    def programs(self) -> tuple[str, ...]:
        """Return the names of the resident programs."""

    @property
    def runtime_version(self) -> str:
        """Return the runtime's name and version."""

    def run(self, program: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one program on named inputs (shapes and dtypes as in the manifest) and return its named outputs."""


def named_program(artifact: Artifact, name: str) -> Program:
    """Return the manifest's program of this name; a BundleError lists the names there are."""
    for program in artifact.programs:
        if program.name == name:
            return program
    valid = [program.name for program in artifact.programs]
    raise BundleError(f"no program {name} in {artifact.file}; choose from {listed(valid)}")


def check_inputs(program: Program, inputs: Mapping[str, Array]) -> None:
    """Raise BundleError unless the inputs are the program's: names, shapes, dtypes."""
    if len(inputs) != len(program.inputs):
        expected = ", ".join(tensor.name for tensor in program.inputs)
        raise BundleError(f"{program.name} takes {expected}; given: {', '.join(inputs) or 'nothing'}")
    for tensor in program.inputs:
        value = inputs.get(tensor.name)
        if value is None:
            raise BundleError(f"{program.name} takes {tensor.name}; given: {', '.join(inputs)}")
        if value.shape != tuple(tensor.shape) or value.dtype != tensor.dtype:
            raise BundleError(
                f"{tensor.name} of {program.name} must be {tensor.dtype} {tensor.shape}, "
                f"not {value.dtype.name} {list(value.shape)}"
            )
