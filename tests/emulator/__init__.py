"""An Android device without a phone: the real adb binary connects to it, and commands really run, in a sandbox.

with Emulator(DeviceState(model="Pixel 8"), tmp_path / "phone") as device:
    adb connect {device.serial}
"""

from tests.emulator.device import Emulator
from tests.emulator.state import Cluster, DeviceState

__all__ = ["Cluster", "DeviceState", "Emulator"]
