"""Compare programs' answers from slices and from plain files: `python -m edge.bundle.executorch.compare FOLDER NAME…`

A process of its own, for `edge.bundle.executorch.check`: it reads what that wrote to FOLDER and prints one JSON line
per program, with the problem or null.
"""

import json
import sys
from pathlib import Path

import numpy as np

from edge.bundle.manifest import Program
from edge.bundle.parity_inputs import parity_inputs
from edge.errors import BundleError


def compare(folder: Path, name: str) -> None:
    """Raise BundleError unless a program answers from model.pte, with NAME.npz, as from NAME.pte."""
    from edge.bundle.executorch.pte import data_file
    from edge.runtime.executorch_session import LoadedMethod

    program = Program.model_validate_json((folder / f"{name}.json").read_bytes())
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
        (folder / f"{name}.ptd").write_bytes(data_file({key: arrays[key].tobytes() for key in arrays.files}))
    plain = LoadedMethod(folder / f"{name}.pte", program)
    nested = LoadedMethod(folder / "model.pte", program, folder / f"{name}.ptd")
    for inputs in parity_inputs(program):
        expected, found = plain.run(inputs), nested.run(inputs)
        for tensor, values in found.items():
            if not np.array_equal(values, expected[tensor]):
                difference = np.abs(values.astype(np.float64) - expected[tensor].astype(np.float64)).max()
                raise BundleError(f"{tensor} differs by {difference:g} between the slices and the plain file")


def _problem(folder: Path, name: str) -> str | None:
    try:
        compare(folder, name)
    except BundleError as error:
        return str(error)
    return None


if __name__ == "__main__":
    for asked in sys.argv[2:]:
        print(json.dumps({"program": asked, "problem": _problem(Path(sys.argv[1]), asked)}), flush=True)
