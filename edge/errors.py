"""Errors of the device side.

EdgeError
├── BundleError               a bundle that is incomplete, altered or not understood
│   └── NotABundleError       something that is no bundle at all, or nothing
├── MeasurementError          a latency measurement that cannot be made or read
│   └── DeviceError           a device that cannot be used, or refuses what it is asked
│       └── DeviceLostError   a device that went away in the middle; it may come back
│           └── DeviceGoneError   one that was waited for and did not
├── CalibrationError          a budget or calibration set that no thresholds can serve
├── ReportError               a report that cannot be made from what was given
├── ConditionError            a condition on a new release that cannot be understood or judged
└── RuntimeUnavailableError   a runtime that is not installed here, or a file it refuses
"""

from common import DsnetError


class EdgeError(DsnetError):
    """Root of the device side's errors."""


class BundleError(EdgeError):
    """A bundle that is incomplete, altered or not understood."""


class NotABundleError(BundleError):
    """A place that holds no bundle at all."""


class MeasurementError(EdgeError):
    """A latency measurement that cannot be made or read."""


class DeviceError(MeasurementError):
    """A device that cannot be used, or that refuses what it is asked."""


class DeviceLostError(DeviceError):
    """A device that went away before it had answered; it may come back."""


class DeviceGoneError(DeviceLostError):
    """A lost device that was waited for and did not come back."""


class CalibrationError(EdgeError):
    """A budget or a calibration set that no thresholds can serve."""


class ReportError(EdgeError):
    """A report that cannot be made from what was given."""


class ConditionError(EdgeError):
    """A condition on a new release that cannot be understood, or that nothing measured can decide."""


class RuntimeUnavailableError(EdgeError):
    """A runtime that is not installed here, or a file that it refuses."""
