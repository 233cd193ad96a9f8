"""Step 3, check: what a bundle gives back must be what coremltools wrote, byte for byte.

Core ML itself runs on Apple's systems alone, so no output is compared here.
"""

from collections.abc import Mapping

from convert.errors import ExportError, ParityError
from convert.nested_store import NestedFiles
from edge.bundle.coreml.multifunction import merge
from edge.bundle.coreml.package import Package, rebuild


def check_rebuilt(nested: NestedFiles, packages: Mapping[str, Package], merged: Package | None, default: str) -> None:
    """Compare every rebuilt package with the exported one, and all of them merged with coremltools' own merging."""
    rebuilt = {name: rebuild(nested.weights, name) for name in packages}
    for name, package in packages.items():
        if differing := _differing(rebuilt[name], package):
            raise ParityError(f"program {name}: {differing} cannot be rebuilt byte for byte from the nested weights")
    if merged is not None and (differing := _differing(merge(rebuilt, default), merged)):
        raise ExportError(
            f"coremltools merges packages in another way than expected: {differing} differs for all programs together; "
            "convert with --deployment-target iOS17, which gives a package per program"
        )


def _differing(found: Package, expected: Package) -> str:
    """Return the files that are not the same in both packages."""
    return ", ".join(path for path in sorted({*found, *expected}) if found.get(path) != expected.get(path))
