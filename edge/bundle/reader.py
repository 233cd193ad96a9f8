"""Open a bundle from a stranger: nothing is believed before it is checked, and every refusal is one line."""

from dataclasses import dataclass
from pathlib import Path

from common import sha256_bytes, sha256_file
from edge.bundle.archive import unpack
from edge.bundle.checks import manifest_problems
from edge.bundle.manifest import FORMAT, Artifact, Manifest, OperatingPoint, WeightsFile
from edge.bundle.records import join_problems, read_record
from edge.errors import BundleError

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest has been checked; its files are checked when they are asked for."""

    root: Path
    """Folder of the manifest. For a .zip: a temporary copy, removed when the process ends."""
    manifest: Manifest

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
            raise BundleError(f"{self.root}: no {wanted} artifact; the bundle has: {choices}".replace("  ", " "))
        if len(fitting) > 1:
            raise BundleError(f"{self.root}: several artifacts fit; choose with --runtime and --precision: {choices}")
        return fitting[0]

    def verified_path(self, item: Artifact | WeightsFile) -> Path:
        """Return the path of an artifact or weights file, after its place, size and SHA-256 have been checked."""
        path = self._located(item)
        _check_digest(item, path, sha256_file(path))
        return path

    def verified_bytes(self, item: Artifact | WeightsFile) -> bytes:
        """Return the content of an artifact or weights file, after its place, size and SHA-256 have been checked."""
        path = self._located(item)
        with path.open("rb") as file:
            data = file.read(item.bytes)
        _check_digest(item, path, sha256_bytes(data))
        return data

    def operating_point(self, name: str, runtime: str | None = None, precision: str | None = None) -> OperatingPoint:
        """Return the operating point `name`, made sure to be this very artifact's.

        Raises BundleError for an unknown name, another runtime or precision, or thresholds of another bundle.
        """
        points = {point.name: point for point in self.manifest.operating_points}
        if name not in points:
            valid = ", ".join(points) or "none yet (dsnet calibrate adds them)"
            raise BundleError(f"{self.root}: no operating point {name!r}; valid: {valid}")
        point = points[name]
        if runtime not in (None, point.runtime) or precision not in (None, point.precision):
            fits = ", ".join(
                p.name for p in points.values() if runtime in (None, p.runtime) and precision in (None, p.precision)
            )
            wanted = " ".join(filter(None, (runtime, precision)))
            raise BundleError(
                f"{self.root}: operating point {name!r} is for {point.runtime} {point.precision}, not {wanted}; "
                f"valid for {wanted}: {fits or 'none'}"
            )
        if self.artifact(point.runtime, point.precision).sha256 != point.artifact_sha256:
            raise BundleError(
                f"{self.root}: operating point {name!r} holds thresholds of another bundle "
                f"(for an artifact whose SHA-256 starts with {point.artifact_sha256[:12]}); run dsnet calibrate again"
            )
        return point

    def _located(self, item: Artifact | WeightsFile) -> Path:
        """Return the file's path once it is known to be a plain file inside the bundle, of the size given."""
        path = self.root / item.file
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise BundleError(f"{path}: a link leads outside the bundle")
        if not path.is_file():
            raise BundleError(f"{path}: named in the manifest, but there is no such file")
        size = path.stat().st_size
        if size != item.bytes:
            raise BundleError(f"{path}: {size} bytes, but the manifest says {item.bytes}; copy the bundle again")
        return path


def open_bundle(path: Path) -> Bundle:
    """Open the bundle in folder or .zip `path`; raises BundleError, in one line, for anything out of order."""
    if not path.exists():
        raise BundleError(f"{path}: no such bundle; give a folder with a {MANIFEST_NAME}, or a .zip of one")
    root = path if path.is_dir() else unpack(path)
    return Bundle(root, read_manifest(root))


def read_manifest(root: Path) -> Manifest:
    """Return the checked manifest of the bundle in folder `root`; raises BundleError."""
    path = root / MANIFEST_NAME
    if not path.resolve().is_relative_to(root.resolve()):
        raise BundleError(f"{path}: a link leads outside the bundle")
    if not path.is_file():
        raise BundleError(f"{root}: no {MANIFEST_NAME} in it; give a bundle's folder, or a .zip of one")
    manifest = read_record(path, Manifest, FORMAT)
    problems = manifest_problems(manifest)
    if problems:
        raise BundleError(f"{path}: {join_problems(problems)}")
    return manifest


def _check_digest(item: Artifact | WeightsFile, path: Path, found: str) -> None:
    if found != item.sha256:
        raise BundleError(
            f"{path}: its SHA-256 starts with {found[:12]}, but the manifest says {item.sha256[:12]}; "
            "copy the bundle again"
        )
