"""Compare a program's answers from slices with its plain file's: `python -m edge.bundle.executorch.compare FOLDER`.

A process of its own, for `edge.bundle.executorch.check`: it reads what that wrote to FOLDER, prints one line when the
answers differ or the runtime refuses a file, and ends with DIFFERENT.
"""

import sys
from pathlib import Path

import numpy as np

from edge.bundle.manifest import Program
from edge.bundle.parity_inputs import parity_inputs
from edge.errors import BundleError

DIFFERENT = 3


def compare(folder: Path) -> None:
    """Raise BundleError unless a program answers from model.pte, with constants.npz, as from PROGRAM.pte."""
    from edge.bundle.executorch.pte import data_file
    from edge.runtime.executorch_session import LoadedMethod

    program = Program.model_validate_json((folder / "program.json").read_bytes())
    with np.load(folder / "constants.npz", allow_pickle=False) as arrays:
        (folder / "model.ptd").write_bytes(data_file({key: arrays[key].tobytes() for key in arrays.files}))
    plain = LoadedMethod(folder / f"{program.name}.pte", program)
    nested = LoadedMethod(folder / "model.pte", program, folder / "model.ptd")
    for inputs in parity_inputs(program):
        expected, found = plain.run(inputs), nested.run(inputs)
        for tensor, values in found.items():
            if not np.array_equal(values, expected[tensor]):
                difference = np.abs(values.astype(np.float64) - expected[tensor].astype(np.float64)).max()
                raise BundleError(f"{tensor} differs by {difference:g} between the slices and the plain file")


if __name__ == "__main__":
    try:
        compare(Path(sys.argv[1]))
    except BundleError as error:
        print(error)
        sys.exit(DIFFERENT)
