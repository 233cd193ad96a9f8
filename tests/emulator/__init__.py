"""An Android device without a phone: the real adb binary connects to it, and commands really run, in a sandbox.

    with Emulator(DeviceState(model="Pixel 8"), tmp_path) as device:
        ...  # adb connect {device.serial}
        device.state.battery_level = 20
        device.faults.vanish("push", at=1_000_000, back_after=0.5)
        device.log.pushed

Where it differs from a phone:

- it needs Linux' user namespaces, and Linux 6.7 to choose what starts arm64 programs (the host's own registration of
  qemu does as well, but then arm64 programs also run where arm64 is not claimed);
- x86_64 programs run whatever is claimed;
- the shell is mksh and the tools are toybox's, as on Android, only where both are installed; else this machine's;
- a disk that is full (`free_bytes`) is full for pushes and `df`, not for what commands write;
- an app is a script or a program of this machine, and `am` knows `start` and `force-stop` alone;
- nothing is pinned to cores: `taskset` only checks its mask;
- /proc and /sys are the state's, but time is this machine's: `canary_slowdown` slows only runners that read it.
"""

from tests.emulator.device import Emulator
from tests.emulator.state import Cluster, DeviceState

__all__ = ["Cluster", "DeviceState", "Emulator"]
