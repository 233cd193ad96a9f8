"""What hydration by the Android core is compared with, in a module that imports no more than that needs.

`python -m benchmarks.hydrate_in_python BUNDLE PRECISION OUT PROGRAM…`
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree

from common import atomic_write
from edge.bundle.nested.weights import open_nested_weights
from edge.bundle.reader import open_bundle


def hydrate(bundle_folder: Path, precision: str, folder: Path, programs: Sequence[str]) -> None:
    """Write the plain files of some programs of an ExecuTorch artifact to `folder`, which is emptied first."""
    rmtree(folder, ignore_errors=True)
    folder.mkdir()
    bundle = open_bundle(bundle_folder)
    weights = open_nested_weights(bundle, bundle.artifact("executorch", precision))
    for program in programs:
        with atomic_write(folder / f"{program}.pte") as temporary:
            temporary.write_bytes(weights.file(f"{program}.pte"))


def main() -> None:
    """Hydrate what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("precision")
    parser.add_argument("out", type=Path)
    parser.add_argument("programs", nargs="+")
    options = parser.parse_args()
    hydrate(options.bundle, options.precision, options.out, options.programs)


if __name__ == "__main__":
    main()
