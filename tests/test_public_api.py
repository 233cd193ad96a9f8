"""What each package promises to its users. A change here is a change of the public interface: note it in CHANGELOG."""

import importlib

import pytest

PUBLIC = {
    "common": [
        "DsnetError",
        "atomic_folder",
        "atomic_write",
        "check_writable",
        "parse_numbers",
        "parse_widths",
        "sha256_bytes",
        "sha256_file",
    ],
    "train": [
        "CheckpointError",
        "ConfigError",
        "DataError",
        "GateSpec",
        "SideGateSpec",
        "SpecError",
        "StageSpec",
        "SupernetSpec",
        "TrainError",
        "load_spec",
    ],
    "convert": ["ConvertError", "ExportError", "ParityError", "SliceError"],
    "edge": ["BundleError", "CalibrationError", "EdgeError", "MeasurementError", "RuntimeUnavailableError"],
    "edge.bundle": [
        "Artifact",
        "Bundle",
        "Manifest",
        "OperatingPoint",
        "Policy",
        "add_operating_points",
        "open_bundle",
        "pack",
        "write_manifest",
    ],
    "edge.runtime": [
        "AdaptivePolicy",
        "AdaptiveSettings",
        "Always",
        "Answer",
        "Array",
        "DynamicSession",
        "ImageError",
        "ImageSet",
        "LiteRtSession",
        "PolicySource",
        "Predictions",
        "Preprocessing",
        "Sample",
        "Session",
        "SimulatedImage",
        "available_runtimes",
        "load_predictions",
        "open_dynamic",
        "open_images",
        "open_labelled",
        "open_session",
        "predict_images",
        "save_predictions",
        "simulate",
    ],
    "edge.devices": ["Device", "FakeDevice", "LocalDevice", "Workload"],
    "edge.profiling": [
        "Entry",
        "LatencyTable",
        "QualityWarning",
        "Ratio",
        "Run",
        "Settings",
        "Summary",
        "load_latency",
        "measure",
        "median_interval",
        "paired_ratio",
        "plan_units",
        "profile_bundle",
        "quality_warnings",
        "save_latency",
        "summarise",
    ],
    "edge.calibration": [
        "Budget",
        "Evaluation",
        "Inputs",
        "Problem",
        "Selection",
        "Solution",
        "Statistic",
        "calibrate",
        "calibration_warnings",
        "choose",
        "evaluate_point",
        "find_run",
        "load_inputs",
        "operating_point",
        "parse_budget",
        "score",
    ],
}


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_exports_exactly_what_it_promises(package: str) -> None:
    assert importlib.import_module(package).__all__ == PUBLIC[package]


@pytest.mark.parametrize("package", PUBLIC)
def test_every_promised_name_is_there(package: str) -> None:
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
