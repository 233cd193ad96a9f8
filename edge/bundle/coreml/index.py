"""`dsnet-coreml/1`, the file that a Core ML artifact is: what its packages are made of, and for which systems.

An artifact of Core ML is folders, whose weights lie elsewhere. The index names by hash the recipe, which names every
file of every package, so the index's own hash stands for all of them: operating points are bound to it.
"""

from typing import Annotated, Literal

from pydantic import Field

from edge.bundle.manifest import Record, Sha256
from edge.bundle.nested.recipe import Size
from edge.bundle.records import parse_record

FORMAT = "dsnet-coreml/1"
MAX_FUNCTIONS = 1024


class PackagePart(Record):
    """One file of a package."""

    path: str
    """Inside the package."""
    bytes: Size
    sha256: Sha256


class Index(Record):
    """The content of an index file."""

    format: str
    deployment_target: str
    """The oldest iOS that the packages run on, "iOS18" (and macOS 15 and so on)."""
    specification_version: Annotated[int, Field(ge=7)]
    """The same as Core ML counts it: 7, 8, 9 and 10 for iOS 16, 17, 18 and 26."""
    image_input: Literal["tensor", "pixels"]
    """Whether programs read `image` as the manifest says, or an RGB image that they normalise themselves."""
    functions: list[str] = Field(min_length=1, max_length=MAX_FUNCTIONS)
    """Every program, in the order in which a package with several of them has its functions; the first is the
    default."""
    all_functions: list[PackagePart] | None
    """The package with every program as a function, as coremltools wrote it; None before iOS18."""
    recipe_sha256: Sha256


def parse_index(data: bytes, origin: str) -> Index:
    """Return the checked index in `data`; a BundleError, in one line, for anything else."""
    return parse_record(data, Index, FORMAT, origin)
