"""What a device is and how it feels at the moment. Tests read and change it while the device runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ABI_NAMES = {"arm64-v8a": "aarch64", "armeabi-v7a": "armv8l", "x86_64": "x86_64", "x86": "i686"}
"""ABI → what `uname -m` says."""


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
    clusters: tuple[Cluster, ...] = BIG_LITTLE
    ram_bytes: int = 8 << 30
    free_bytes: int | None = None
    """Space left for pushed files; None is as much as this machine has."""
    host_cpu: bool = False
    """Whether programs see this machine's own /proc and /sys instead of those of the state."""

    battery_level: int = 85
    battery_celsius: float = 27.5
    plugged: str | None = "usb"
    """"ac", "usb", "wireless" or None."""
    thermal_status: int = 0
    """0 is none, 3 severe, 6 shutdown."""
    skin_celsius: float = 31.0
    cpu_khz: tuple[int, ...] | None = None
    """Current frequency of every core; None is each cluster's maximum."""
    canary_slowdown: float = 1.0
    """Written to $EMULATOR/canary_slowdown, where runners made for tests read it; 2 is twice as slow."""
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Namespace (system, secure, global) → key → value; `settings put` on the device changes it."""
    fixed_performance: bool = False
    """What `cmd power set-fixed-performance-mode-enabled` changes."""

    shell_v2: bool = True
    """False is a device before Android 7: no exit status, no standard input that ends, standard error mixed in."""
    authorized: bool = True
    """False until the user accepts this computer's key."""

    changed: Callable[[str], None] | None = field(default=None, repr=False, compare=False)
    """Called with the name of an attribute after it was assigned; the emulator's own."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign, and tell the device."""
        object.__setattr__(self, name, value)
        if name != "changed" and self.__dict__.get("changed") is not None:
            self.changed(name)

    @property
    def cores(self) -> tuple[Cluster, ...]:
        """Return the cluster of every core."""
        return tuple(cluster for cluster in self.clusters for _ in range(cluster.cores))

    @property
    def khz(self) -> tuple[int, ...]:
        """Return the current frequency of every core."""
        return self.cpu_khz or tuple(cluster.max_khz for cluster in self.cores)

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
