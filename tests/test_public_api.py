"""What each package promises to its users. A change here is a change of the public interface: note it in CHANGELOG."""

import importlib

import pytest

PUBLIC = {
    "common": ["DsnetError", "atomic_write", "sha256_bytes", "sha256_file"],
    "edge": ["BundleError", "CalibrationError", "EdgeError", "MeasurementError", "RuntimeUnavailableError"],
    "edge.bundle": [
        "Artifact",
        "Bundle",
        "Manifest",
        "OperatingPoint",
        "add_artifact",
        "add_operating_points",
        "open_bundle",
        "pack",
        "write_manifest",
    ],
}


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_exports_exactly_what_it_promises(package: str) -> None:
    assert importlib.import_module(package).__all__ == PUBLIC[package]


@pytest.mark.parametrize("package", PUBLIC)
def test_every_promised_name_is_there(package: str) -> None:
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
