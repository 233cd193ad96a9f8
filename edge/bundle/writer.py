"""Change a bundle: whole manifests in one stable layout, replaced atomically. Fields of newer writers are kept."""

import json
from collections.abc import Sequence
from pathlib import Path

from common import atomic_write
from edge.bundle.archive import is_unpacked
from edge.bundle.archive import pack as pack_files
from edge.bundle.checks import manifest_problems
from edge.bundle.manifest import Artifact, Manifest, OperatingPoint, WeightsFile
from edge.bundle.reader import MANIFEST_NAME, open_bundle, read_manifest
from edge.bundle.records import join_problems
from edge.errors import BundleError


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Check `manifest` and write it to folder `root`; raises BundleError for a manifest that readers would refuse."""
    check_changeable(root)
    problems = manifest_problems(manifest)
    if problems:
        raise BundleError(f"{root}: not a manifest to write: {join_problems(problems)}")
    text = json.dumps(
        manifest.model_dump(mode="json", exclude_none=False), indent=1, ensure_ascii=False, allow_nan=False
    )
    with atomic_write(root / MANIFEST_NAME) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def add_operating_points(root: Path, points: Sequence[OperatingPoint]) -> None:
    """Add `points` to the bundle in folder `root`; points of the same name are replaced."""
    check_changeable(root)
    manifest = read_manifest(root)
    names = {point.name for point in points}
    kept = [point for point in manifest.operating_points if point.name not in names]
    write_manifest(root, manifest.model_copy(update={"operating_points": [*kept, *points]}))


def pack(root: Path, archive: Path) -> None:
    """Write the bundle in folder `root` to a .zip: the manifest and the files it names, each verified first.

    Equal bundles give equal bytes.
    """
    bundle = open_bundle(root)
    items: list[Artifact | WeightsFile] = [*bundle.manifest.artifacts, *bundle.manifest.weights]
    for item in items:
        bundle.verified_path(item)
    pack_files(bundle.root, archive, [MANIFEST_NAME, *(item.file for item in items)])


def check_changeable(root: Path) -> None:
    """Raise BundleError for an archive and for its temporary copy, where a change would be lost."""
    if not root.is_dir() or is_unpacked(root):
        raise BundleError(f"{root}: only a bundle in a folder can be changed; unpack the .zip first")
