"""Where bundles are timed: this machine, and a device with scripted latencies for tests of whatever measures."""

from edge.devices.base import Device, Workload
from edge.devices.fake import FakeDevice
from edge.devices.local import LocalDevice

__all__ = ["Device", "FakeDevice", "LocalDevice", "Workload"]
