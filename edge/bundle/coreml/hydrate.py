"""Core ML packages for chosen programs of a bundle: one package with a function per program, or one package each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from common import sha256_bytes
from edge.bundle.coreml.index import Index, parse_index
from edge.bundle.coreml.model_file import with_user_metadata
from edge.bundle.coreml.multifunction import FIRST_VERSION, merge
from edge.bundle.coreml.package import MODEL, SUFFIX, Package, rebuild
from edge.bundle.manifest import Artifact, OperatingPoint
from edge.bundle.nested.weights import open_nested_weights, weights_files
from edge.bundle.reader import Bundle
from edge.errors import BundleError

Form = Literal["mlpackage", "packages"]
OPERATING_POINTS = "dsnet.operating_points"
"""Key in the user-defined metadata: a JSON array of the manifest's records."""


def hydrate(
    bundle: Bundle,
    artifact: Artifact,
    programs: Sequence[str],
    out: Path,
    form: Form | None = None,
    operating_points: bool = False,
) -> dict[Path, bytes]:
    """Return the files of packages for some programs, by the path they are to be written to.

    mlpackage: `out` is one package, Model.mlpackage, with every program as a function; needs iOS18. packages: `out` is
    a folder with PROGRAM.mlpackage for each. None: the first, where the artifact is for iOS18 or later. Every file is
    byte for byte what coremltools makes, unless the bundle's operating points are to be put into the metadata.
    """
    index = open_index(bundle, artifact)
    check_recipe(bundle, artifact, index)
    several = index.specification_version >= FIRST_VERSION
    form = form or ("mlpackage" if several else "packages")
    weights = open_nested_weights(bundle, artifact)
    points = _fitting_points(bundle, artifact, programs) if operating_points else []
    if form == "packages":
        if out.suffix == SUFFIX:
            raise BundleError(
                f"{out}: several packages go into a folder; choose an --out that does not end in {SUFFIX}"
            )
        packages = {f"{name}{SUFFIX}": rebuild(weights, name) for name in programs}
        return _files({out / folder: package for folder, package in packages.items()}, points)
    if out.suffix != SUFFIX:
        raise BundleError(f"{out}: Core ML knows a package by its name; choose an --out that ends in {SUFFIX}")
    if several:
        package = merge({name: rebuild(weights, name) for name in programs}, programs[0])
        if list(programs) == index.functions:
            check_merged(package, index)
    elif len(programs) == 1:
        package = rebuild(weights, programs[0])
    else:
        raise BundleError(
            f"{bundle.place}: converted for {index.deployment_target}, whose packages have one function each; hydrate "
            "with --as packages, or convert with --deployment-target iOS18"
        )
    return _files({out: package}, points)


def open_index(bundle: Bundle, artifact: Artifact) -> Index:
    """Return the index that an artifact is, its hash checked."""
    return parse_index(bundle.verified_bytes(artifact), str(bundle.place / artifact.file))


def check_recipe(bundle: Bundle, artifact: Artifact, index: Index) -> None:
    """Raise BundleError unless the index is of the recipe that the manifest names."""
    if index.recipe_sha256 != weights_files(bundle, artifact)["recipe"].sha256:
        raise BundleError(
            f"{bundle.place / artifact.file}: of another recipe than the manifest's; copy the bundle again"
        )


def check_merged(package: Package, index: Index) -> None:
    """Raise BundleError unless the package with every program is what coremltools wrote."""
    found = {path: sha256_bytes(content) for path, content in package.items()}
    expected = {part.path: part.sha256 for part in index.all_functions or ()}
    if found != expected:
        differing = sorted(path for path in found | expected if found.get(path) != expected.get(path))
        raise BundleError(f"{', '.join(differing)} of the merged package differ from what coremltools wrote")


def _fitting_points(bundle: Bundle, artifact: Artifact, programs: Sequence[str]) -> list[OperatingPoint]:
    """Return the operating points of this very artifact that need no other programs than these."""
    absent = {width for program in artifact.programs if program.name not in programs for width in program.widths}
    fitting = [
        point
        for point in bundle.manifest.operating_points
        if point.artifact_sha256 == artifact.sha256 and absent.isdisjoint(point.widths)
    ]
    if not fitting:
        raise BundleError(
            f"{bundle.place}: no operating point of this artifact fits these widths; run dsnet calibrate, or hydrate "
            "without operating points"
        )
    return fitting


def _files(packages: Mapping[Path, Package], points: Sequence[OperatingPoint]) -> dict[Path, bytes]:
    files = {folder / path: content for folder, package in packages.items() for path, content in package.items()}
    if not points:
        return files
    entry = {OPERATING_POINTS: json.dumps([point.model_dump(mode="json") for point in points], separators=(",", ":"))}
    return files | {folder / MODEL: with_user_metadata(package[MODEL], entry) for folder, package in packages.items()}
