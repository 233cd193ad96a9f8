"""Open a bundle from a stranger: nothing is believed before it is checked, and every refusal is one line."""

from dataclasses import dataclass
from pathlib import Path

from common import sha256_bytes, sha256_file
from edge.bundle.archive import unpack
from edge.bundle.checks import manifest_problems
from edge.bundle.first_format import FIRST_FORMAT
from edge.bundle.manifest import FORMAT, Artifact, Manifest, OperatingPoint, WeightsFile
from edge.bundle.records import join_problems, read_record
from edge.errors import BundleError, NotABundleError

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest has been checked; its files are checked when they are asked for."""

    root: Path
    """Folder of the manifest. For a .zip: a temporary copy, removed when the process ends."""
    manifest: Manifest
    archive: Path | None = None
    """The .zip that the user gave, which messages name instead of the temporary copy."""

    @property
    def place(self) -> Path:
        """Return the folder or .zip that the user gave."""
        return self.archive or self.root

    def artifact(self, runtime: str | None = None, precision: str | None = None) -> Artifact:
        """Return the artifact of `runtime` and `precision`; None stands for the only one there is.

        Raises BundleError that lists the valid choices.
        """
        artifacts = self.manifest.artifacts
        choices = ", ".join(f"{item.runtime} {item.precision}" for item in artifacts) or "none"
        fitting = [
            item for item in artifacts if runtime in (None, item.runtime) and precision in (None, item.precision)
        ]
        wanted = " ".join(filter(None, (runtime, precision)))
        if not fitting:
            raise BundleError(f"{self.place}: no {wanted} artifact; the bundle has: {choices}".replace("  ", " "))
        if len(fitting) > 1:
            raise BundleError(f"{self.place}: several artifacts fit; choose with --runtime and --precision: {choices}")
        return fitting[0]

    def verified_path(self, item: Artifact | WeightsFile) -> Path:
        """Return the path of an artifact or weights file, after its place, size and SHA-256 have been checked."""
        path = self._located(item)
        self._check_digest(item, sha256_file(path))
        return path

    def verified_bytes(self, item: Artifact | WeightsFile) -> bytes:
        """Return the content of an artifact or weights file, after its place, size and SHA-256 have been checked."""
        path = self._located(item)
        with path.open("rb") as file:
            data = file.read(item.bytes)
        self._check_digest(item, sha256_bytes(data))
        return data

    def operating_point(self, name: str, runtime: str | None = None, precision: str | None = None) -> OperatingPoint:
        """Return the operating point `name`, made sure to be this very artifact's.

        Raises BundleError for an unknown name, another runtime or precision, or thresholds of another bundle.
        """
        points = {point.name: point for point in self.manifest.operating_points}
        if name not in points:
            valid = ", ".join(points) or "none yet (dsnet calibrate adds them)"
            raise BundleError(f"{self.place}: no operating point {name!r}; valid: {valid}")
        point = points[name]
        if runtime not in (None, point.runtime) or precision not in (None, point.precision):
            fits = ", ".join(
                p.name for p in points.values() if runtime in (None, p.runtime) and precision in (None, p.precision)
            )
            wanted = " ".join(filter(None, (runtime, precision)))
            raise BundleError(
                f"{self.place}: operating point {name!r} is for {point.runtime} {point.precision}, not {wanted}; "
                f"valid for {wanted}: {fits or 'none'}"
            )
        if self.artifact(point.runtime, point.precision).sha256 != point.artifact_sha256:
            raise BundleError(
                f"{self.place}: operating point {name!r} holds thresholds of another bundle "
                f"(for an artifact whose SHA-256 starts with {point.artifact_sha256[:12]}); run dsnet calibrate again"
            )
        return point

    def _located(self, item: Artifact | WeightsFile) -> Path:
        """Return the file's path once it is known to be a plain file inside the bundle, of the size given."""
        path, shown = self.root / item.file, self.place / item.file
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise BundleError(f"{shown}: a link leads outside the bundle")
        if not path.is_file():
            raise BundleError(f"{shown}: named in the manifest, but there is no such file")
        size = path.stat().st_size
        if size != item.bytes:
            raise BundleError(f"{shown}: {size} bytes, but the manifest says {item.bytes}; copy the bundle again")
        return path

    def _check_digest(self, item: Artifact | WeightsFile, found: str) -> None:
        if found != item.sha256:
            raise BundleError(
                f"{self.place / item.file}: its SHA-256 starts with {found[:12]}, but the manifest says "
                f"{item.sha256[:12]}; copy the bundle again"
            )


def open_bundle(path: Path) -> Bundle:
    """Open the bundle in folder or .zip `path`; raises BundleError, in one line, for anything out of order."""
    if not path.exists():
        raise NotABundleError(f"{path}: no such bundle; give a folder with a {MANIFEST_NAME}, or a .zip of one")
    if path.is_dir():
        return Bundle(path, read_manifest(path))
    root = unpack(path)
    return Bundle(root, read_manifest(root, path), path)


def read_manifest(root: Path, place: Path | None = None) -> Manifest:
    """Return the checked manifest of the bundle in folder `root`, which errors call `place`; raises BundleError."""
    place = place or root
    path, shown = root / MANIFEST_NAME, place / MANIFEST_NAME
    if not path.resolve().is_relative_to(root.resolve()):
        raise BundleError(f"{shown}: a link leads outside the bundle")
    if not path.is_file():
        raise NotABundleError(f"{place}: no {MANIFEST_NAME} in it; give a bundle's folder, or a .zip of one")
    manifest = read_record(path, Manifest, FORMAT, origin=str(shown), oldest=FIRST_FORMAT)
    problems = manifest_problems(manifest)
    if problems:
        raise BundleError(f"{shown}: {join_problems(problems)}")
    return manifest
