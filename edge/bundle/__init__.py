"""A bundle: a folder (or its .zip) with a manifest and, per runtime and precision, one artifact holding every width."""

from edge.bundle.manifest import Artifact, Manifest, OperatingPoint, Policy
from edge.bundle.reader import Bundle, open_bundle
from edge.bundle.writer import add_operating_points, pack, write_manifest

__all__ = [
    "Artifact",
    "Bundle",
    "Manifest",
    "OperatingPoint",
    "Policy",
    "add_operating_points",
    "open_bundle",
    "pack",
    "write_manifest",
]
