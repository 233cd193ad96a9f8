"""What every runtime's session can do; one file per runtime implements it."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
