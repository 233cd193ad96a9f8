"""Assets of an Android app: a bundle of its own with the runtimes, precisions and widths that the app is to have."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import atomic_folder, sha256_file
from edge.bundle.checks import artifact_widths
from edge.bundle.manifest import Artifact, Manifest, OperatingPoint
from edge.bundle.plain_files import separate_model
from edge.bundle.reader import MANIFEST_NAME, Bundle, open_bundle, read_manifest
from edge.bundle.restrict import Part, misfit, part_of, take_part
from edge.bundle.writer import write_manifest
from edge.errors import BundleError

RUNTIMES = ("litert", "executorch")
"""Those that Android has."""
MARK = "android_assets"
"""Key in a manifest's provenance that says who wrote the folder, which may therefore be replaced."""


@dataclass(frozen=True)
class Sizes:
    """What one artifact takes, and what its widths would take without sharing, in bytes."""

    runtime: str
    precision: str
    widths: list[int]
    bytes: int
    """Of the artifact and its weights files."""
    separate_bytes: int
    """Of a plain file for each width, its gates in each."""


@dataclass(frozen=True)
class Assets:
    """What was written."""

    files: dict[str, int]
    """Path in the folder → bytes."""
    artifacts: list[Sizes]
    operating_points: list[str]
    left_out: dict[str, str]
    """Operating point → why it is not there."""

    @property
    def bytes(self) -> int:
        """Return the size of the folder, its manifest in it."""
        return sum(self.files.values())

    @property
    def separate_bytes(self) -> int:
        """Return the size of separate models for all that the folder serves."""
        return sum(sizes.separate_bytes for sizes in self.artifacts)


def choose_artifacts(bundle: Bundle, runtimes: Collection[str], precisions: Collection[str]) -> list[Artifact]:
    """Return the artifacts for Android of these runtimes and precisions (none given: of all).

    Raises BundleError that lists the valid choices where one of them fits nothing.
    """
    usable = [artifact for artifact in bundle.manifest.artifacts if artifact.runtime in RUNTIMES]
    if not usable:
        raise BundleError(
            f"{bundle.place}: no artifact for Android; dsnet convert --runtime {' or '.join(RUNTIMES)} adds one"
        )
    chosen = [
        artifact
        for artifact in usable
        if (not runtimes or artifact.runtime in runtimes) and (not precisions or artifact.precision in precisions)
    ]
    unserved = [name for name in runtimes if name not in {artifact.runtime for artifact in chosen}]
    unserved += [name for name in precisions if name not in {artifact.precision for artifact in chosen}]
    if unserved:
        choices = ", ".join(f"{artifact.runtime} {artifact.precision}" for artifact in usable)
        raise BundleError(
            f"{bundle.place}: nothing for Android fits {unserved[0]}; choose with --runtime and --precision: {choices}"
        )
    return chosen


def write_assets(
    bundle: Bundle,
    artifacts: Sequence[Artifact],
    widths: Sequence[int] | None,
    out: Path,
    step: Callable[[str], None] = lambda _: None,
) -> Assets:
    """Write artifacts with some of their widths (None: all) to the folder `out`, a bundle, whole or not at all.

    Every width that is left is compared with the source's, hydrated, byte for byte. `step` is told of each. Raises
    BundleError for a folder that holds anything else, a width that is not there, and a comparison that fails.
    """
    _check_replaceable(bundle, out)
    parts = [take_part(bundle, artifact, widths) for artifact in artifacts]
    manifest = _manifest(bundle, parts)
    with atomic_folder(out) as folder:
        for path, data in ((path, data) for part in parts for path, data in part.files.items()):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        write_manifest(folder, manifest)
        written = open_bundle(folder)
        sizes = [_compared(bundle, written, part, step) for part in parts]
        files = {name: (folder / name).stat().st_size for name in _files(manifest)}
    kept = [point.name for point in manifest.operating_points]
    reasons = {point.name: misfit(point, parts) for point in bundle.manifest.operating_points}
    return Assets(files, sizes, kept, {name: reason for name, reason in reasons.items() if reason})


def _check_replaceable(bundle: Bundle, out: Path) -> None:
    """Refuse a folder inside of the bundle, and one with files that this command did not write."""
    if out.resolve().is_relative_to(bundle.root.resolve()):
        raise BundleError(f"{out} is in the bundle itself; choose another --out")
    ours = _files_of_ours(out)
    files = (path for path in out.rglob("*") if path.is_symlink() or not path.is_dir())
    foreign = next((path for path in files if path.relative_to(out).as_posix() not in ours), None)
    if foreign is not None:
        raise BundleError(
            f"{out} holds {foreign.relative_to(out)}, which dsnet android-assets did not write; "
            "choose another --out, or empty that one"
        )


def _files_of_ours(out: Path) -> Collection[str]:
    try:
        manifest = read_manifest(out)
    except BundleError:
        return ()
    return _files(manifest) if MARK in manifest.provenance else ()


def _files(manifest: Manifest) -> list[str]:
    listed = [artifact.file for artifact in manifest.artifacts] + [weights.file for weights in manifest.weights]
    return sorted({MANIFEST_NAME, *listed})


def _manifest(bundle: Bundle, parts: Sequence[Part]) -> Manifest:
    """Return the manifest of the smaller bundle: widths keep their indices, and gates their choices."""
    points = [point for point in bundle.manifest.operating_points if misfit(point, parts) is None]
    mark = {"manifest_sha256": sha256_file(bundle.root / MANIFEST_NAME)}
    return bundle.manifest.model_copy(
        update={
            "artifacts": [part.artifact for part in parts],
            "weights": [record for part in parts for record in part.weights],
            "provenance": {**bundle.manifest.provenance, MARK: mark},
            "operating_points": [_bound(point, parts) for point in points],
        }
    )


def _bound(point: OperatingPoint, parts: Sequence[Part]) -> OperatingPoint:
    part = part_of(point, parts)
    assert part is not None
    return point.model_copy(update={"artifact_sha256": part.artifact.sha256})


def _compared(source: Bundle, written: Bundle, part: Part, step: Callable[[str], None]) -> Sizes:
    """Return the sizes of one part, after every file has been read back and every width compared with the source's."""
    for item in part.records:
        written.verified_path(item)
    artifact, separate = part.artifact, 0
    for width in artifact_widths(artifact):
        plain = separate_model(source, part.source, width)
        if not part.is_whole and separate_model(written, artifact, width) != plain:
            raise BundleError(
                f"{source.place}: width {width} of {artifact.runtime} {artifact.precision} would not be the same "
                "without the other widths; use --widths all"
            )
        separate += sum(map(len, plain))
        step(f"{artifact.runtime} {artifact.precision}: comparing width {width}")
    together = sum(map(len, part.files.values()))
    return Sizes(artifact.runtime, artifact.precision, artifact_widths(artifact), together, separate)
