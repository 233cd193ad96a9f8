"""Bundles on devices: read, run, measure, calibrate. Imports nothing of training or conversion, and no torch."""

from edge.errors import BundleError, CalibrationError, EdgeError, MeasurementError, RuntimeUnavailableError

__all__ = ["BundleError", "CalibrationError", "EdgeError", "MeasurementError", "RuntimeUnavailableError"]
