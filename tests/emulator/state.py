"""What a device is and how it feels at the moment. Tests read and change it while the device runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ABI_NAMES = {"arm64-v8a": "aarch64", "armeabi-v7a": "armv8l", "x86_64": "x86_64", "x86": "i686"}
"""ABI → what `uname -m` says."""

HOST = "127.0.0.1"
COOL_BATTERY, HOT_BATTERY = 27.5, 43.0
COOL_SKIN, HOT_SKIN = 31.0, 46.5


@dataclass(frozen=True)
class Cluster:
    """Cores of one kind, which share a clock."""

    cores: int
    max_khz: int
    min_khz: int = 300_000
    part: str = "0xd46"
    """The CPU part of /proc/cpuinfo: 0xd46 is a Cortex-A510, 0xd4d an A715, 0xd4e an X3."""


BIG_LITTLE = (
    Cluster(4, 1_704_000, 324_000, "0xd46"),
    Cluster(4, 2_367_000, 402_000, "0xd4d"),
    Cluster(1, 2_914_000, 500_000, "0xd4e"),
)


@dataclass
class DeviceState:
    """Assigning an attribute changes the device at once, also for commands that are running.

    Mappings are replaced, not changed in place: `state.settings = {...}`.
    """

    model: str = "Pixel 8"
    device: str = "shiba"
    product: str = "shiba"
    manufacturer: str = "Google"
    soc: str = "Tensor G3"
    abis: tuple[str, ...] = ("x86_64",)
    """The first one is preferred. x86_64 programs run as they are, arm64-v8a ones under qemu where it is installed."""
    android_version: str = "14"
    sdk: int = 34
    kernel: str = "5.15.137-android14-11"
    properties: Mapping[str, str] = field(default_factory=dict)
    """System properties besides those that the other fields make, or instead of them."""
    packages: tuple[str, ...] = ()
    """Installed apps, which are only listed; `Emulator.install_app` gives one something to do."""
    clusters: tuple[Cluster, ...] = BIG_LITTLE
    ram_bytes: int = 8 << 30
    free_bytes: int | None = None
    """Space left for pushed files; None is as much as this machine has."""
    host_cpu: bool = False
    """Whether programs see this machine's own /proc and /sys instead of those of the state."""

    battery_level: int = 85
    battery_celsius: float = COOL_BATTERY
    plugged: str | None = "usb"
    """"ac", "usb", "wireless" or None."""
    thermal_status: int = 0
    """0 is none, 3 severe, 6 shutdown."""
    skin_celsius: float = COOL_SKIN
    cluster_khz: tuple[int, ...] | None = None
    """Current clock of every cluster; None is its maximum."""
    canary_slowdown: float = 1.0
    """Written to $EMULATOR/canary_slowdown, where runners made for tests read it; 2 is twice as slow."""
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Namespace (system, secure, global) → key → value; `settings put` on the device changes it."""
    fixed_performance: bool = False
    """What `cmd power set-fixed-performance-mode-enabled` changes."""

    host: str = HOST
    """The address of this machine at which adb finds it: `::1` is a device with an IPv6 address."""
    shell_v2: bool = True
    """False is a device before Android 7: no exit status, no standard input that ends, standard error mixed in."""
    authorized: bool = True
    """False until the user accepts this computer's key."""

    changed: Callable[[str], None] | None = field(default=None, repr=False, compare=False)
    """Called with the name of an attribute after it was assigned; the emulator's own."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign, and tell the device."""
        object.__setattr__(self, name, value)
        changed: Callable[[str], None] | None = self.__dict__.get("changed")
        if name != "changed" and changed is not None:
            changed(name)

    def throttle(self, slowdown: float, status: int = 3) -> None:
        """Become hot: clocks and canary slower by a factor, and what the sensors say with them."""
        self.cluster_khz = tuple(round(cluster.max_khz / slowdown) for cluster in self.clusters)
        self.canary_slowdown = slowdown
        self.battery_celsius = HOT_BATTERY
        self.skin_celsius = HOT_SKIN
        self.thermal_status = status

    def cool_down(self) -> None:
        """Become as cool as a device is made."""
        self.cluster_khz = None
        self.canary_slowdown = 1.0
        self.battery_celsius = COOL_BATTERY
        self.skin_celsius = COOL_SKIN
        self.thermal_status = 0

    @property
    def cores(self) -> tuple[Cluster, ...]:
        """Return the cluster of every core."""
        return tuple(cluster for cluster in self.clusters for _ in range(cluster.cores))

    def system_properties(self) -> dict[str, str]:
        """Return what `getprop` knows."""
        return {
            "ro.product.model": self.model,
            "ro.product.device": self.device,
            "ro.product.name": self.product,
            "ro.product.manufacturer": self.manufacturer,
            "ro.product.brand": self.manufacturer.lower(),
            "ro.product.cpu.abi": self.abis[0],
            "ro.product.cpu.abilist": ",".join(self.abis),
            "ro.product.board": self.device,
            "ro.board.platform": self.soc.lower().replace(" ", "_"),
            "ro.hardware": self.device,
            **({"ro.soc.model": self.soc, "ro.soc.manufacturer": self.manufacturer} if self.sdk >= 31 else {}),
            "ro.build.version.release": self.android_version,
            "ro.build.version.sdk": str(self.sdk),
            "ro.build.fingerprint": f"{self.manufacturer}/{self.product}/{self.device}:{self.android_version}/keys",
            "ro.build.type": "user",
            "ro.debuggable": "0",
            "sys.boot_completed": "1",
            **self.properties,
        }
