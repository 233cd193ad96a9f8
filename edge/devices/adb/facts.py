"""What a device is, from what it prints. What cannot be parsed is None, and its text is kept: never a made-up 0."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from edge.devices.adb.client import SECONDS_TO_ANSWER, Adb
from edge.errors import DeviceError

PROPERTIES = {
    "manufacturer": ("ro.product.manufacturer",),
    "model": ("ro.product.model",),
    "soc": ("ro.soc.model", "ro.board.platform", "ro.hardware"),
    "android": ("ro.build.version.release",),
    "build": ("ro.build.fingerprint",),
}
"""Fact → the properties that may hold it, the newest first."""
KEPT_CHARACTERS = 2000
MAX_CORES = 1024
TOOLS = ("benchmark_model", "executor_runner")
"""Programs of others that time models; users push them."""
APP = "io.github.dsnetedge.demo"
"""Package name of the demo app."""
FREQUENCIES = """for core in /sys/devices/system/cpu/cpu[0-9]*; do
khz=; { read -r khz < "$core/cpufreq/$1"; } 2>/dev/null; echo "${core##*cpu} $khz"; done"""
"""No process per core: this runs between blocks."""
BATTERY, THERMAL = ("dumpsys", "battery"), ("dumpsys", "thermalservice")
PROGRAMS = 'for path; do if [ -x "$path" ]; then echo "$path"; fi; done'


@dataclass(frozen=True)
class Cluster:
    """Cores of one maximum frequency."""

    max_khz: int | None
    cores: tuple[int, ...]


@dataclass(frozen=True)
class Battery:
    """What the battery service says; temperatures in degrees Celsius."""

    level_percent: float | None
    temperature_c: float | None
    plugged: bool | None


@dataclass(frozen=True)
class Facts:
    """What a device is, and how it is just now."""

    serial: str
    manufacturer: str | None
    model: str | None
    soc: str | None
    android: str | None
    sdk: int | None
    build: str | None
    kernel: str | None
    abis: tuple[str, ...]
    """The ABIs that it runs, its own first."""
    clusters: tuple[Cluster, ...]
    """The slowest first."""
    memory_bytes: int | None
    battery: Battery
    thermal_status: int | None
    """0 none … 6 shutdown, as Android's PowerManager counts."""
    tools: dict[str, str]
    """Which of TOOLS are there, and where."""
    app_installed: bool | None
    unparsed: dict[str, str] = field(default_factory=dict)
    """What a fact that is None was read from."""

    @property
    def cores(self) -> int | None:
        """Return how many cores there are."""
        return sum(len(cluster.cores) for cluster in self.clusters) or None

    def mask(self, cores: str) -> str:
        """Return the affinity mask, in hexadecimal without 0x, for `big` or for a mask such as 0xf0.

        `big` is every core that is faster than the slowest ones. Raises DeviceError that lists what there is.
        """
        if cores == "big":
            faster = [cluster for cluster in self.clusters if cluster.max_khz is not None][1:]
            if not faster:
                raise DeviceError(f"{self.serial}: its cores are not known to differ in speed; give a mask, as 0xf0")
            return format(sum(1 << core for cluster in faster for core in cluster.cores), "x")
        if not re.fullmatch(r"0x[0-9a-fA-F]{1,64}", cores) or (mask := int(cores, 16)) == 0:
            raise DeviceError(f"unknown cores {cores!r}; valid for --cores: big, or a hexadecimal mask such as 0xf0")
        known = sum(1 << core for cluster in self.clusters for core in cluster.cores)
        if known and mask & ~known:
            raise DeviceError(f"{self.serial}: mask {cores} has cores that it lacks; all of them are {known:#x}")
        return format(mask, "x")

    def fingerprint(self) -> dict[str, Any]:
        """Return the facts that a latency depends on and that do not change from one run to the next."""
        names = ("manufacturer", "model", "soc", "android", "sdk", "build", "kernel", "memory_bytes")
        return {
            **{name: getattr(self, name) for name in names},
            "abis": list(self.abis),
            "clusters": [{"max_khz": cluster.max_khz, "cores": list(cluster.cores)} for cluster in self.clusters],
        }

    def record(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        return {**asdict(self), "cores": self.cores}


QUESTIONS: dict[str, tuple[str, ...]] = {
    "properties": ("getprop",),
    "battery": BATTERY,
    "thermal_status": THERMAL,
    "memory_bytes": ("cat", "/proc/meminfo"),
    "clusters": ("sh", "-c", FREQUENCIES, "sh", "cpuinfo_max_freq"),
    "app_installed": ("cmd", "package", "list", "packages", APP),
    "kernel": ("uname", "-r"),
    "tools": ("sh", "-c", PROGRAMS, "sh", *(f"/data/local/tmp/{tool}" for tool in TOOLS)),
}


def read_facts(adb: Adb) -> Facts:
    """Ask a device for its facts; raises DeviceLostError when it goes away, nothing for facts that it does not tell."""
    unparsed: dict[str, str] = {}

    answers = dict(zip(QUESTIONS, adb.try_each(list(QUESTIONS.values())), strict=True))

    def said(fact: str) -> str:
        answer = answers[fact]
        if answer.status == 0:
            return answer.text
        unparsed[fact] = f"{' '.join(QUESTIONS[fact])} failed ({answer.status}): {answer.text[:KEPT_CHARACTERS]}"
        return ""

    def kept(fact: str, text: str, value: Any) -> Any:
        if value is None and text:
            unparsed.setdefault(fact, text[:KEPT_CHARACTERS])
        return value

    properties = parse_properties(said("properties"))
    battery_text = said("battery")
    battery = parse_battery(battery_text)
    kept("battery", battery_text, None if None in (battery.level_percent, battery.temperature_c) else battery)
    thermal = said("thermal_status")
    memory = said("memory_bytes")
    frequencies = said("clusters")
    sdk = properties.get("ro.build.version.sdk", "")
    packages = said("app_installed")
    clusters = parse_clusters(frequencies)
    kept("clusters", frequencies, clusters or None)
    return Facts(
        serial=adb.serial,
        **{fact: _first(properties, names) for fact, names in PROPERTIES.items()},
        sdk=kept("sdk", sdk, int(sdk) if re.fullmatch("[0-9]{1,4}", sdk) else None),
        kernel=said("kernel").strip() or None,
        abis=parse_abis(properties),
        clusters=clusters,
        memory_bytes=kept("memory_bytes", memory, parse_memory(memory)),
        battery=battery,
        thermal_status=kept("thermal_status", thermal, parse_thermal_status(thermal)),
        tools=_tools(said("tools")),
        app_installed=kept("app_installed", packages, None if "app_installed" in unparsed else _installed(packages)),
        unparsed=unparsed,
    )


def read_conditions(adb: Adb, timeout_s: float = SECONDS_TO_ANSWER) -> dict[str, Any]:
    """Return what changes while a device works: temperature, thermal status, frequencies; None for what is not told.

    What takes longer than `timeout_s` is not told. Raises DeviceLostError when the device goes away.
    """
    khz_command = ("sh", "-c", FREQUENCIES, "sh", "scaling_cur_freq")
    answers = adb.try_each((BATTERY, THERMAL, khz_command), timeout_s)
    battery_said, thermal, frequencies = (answer.text for answer in answers)
    battery, khz = parse_battery(battery_said), parse_frequencies(frequencies)
    return {
        "thermal_status": parse_thermal_status(thermal),
        "battery_c": battery.temperature_c,
        "battery_percent": battery.level_percent,
        "plugged": battery.plugged,
        "khz": [khz[core] for core in sorted(khz)],
    }


def parse_properties(text: str) -> dict[str, str]:
    """Return what `getprop` lists; a value may have line breaks in it."""
    return dict(re.findall(r"^\[([^\]\n]+)\]: \[(.*?)\]$(?=\n\[|\n*\Z)", text, re.MULTILINE | re.DOTALL))


def parse_abis(properties: dict[str, str]) -> tuple[str, ...]:
    """Return the ABIs, from the list of newer devices or the two properties of older ones."""
    listed = properties.get("ro.product.cpu.abilist", "").split(",")
    older = [properties.get("ro.product.cpu.abi", ""), properties.get("ro.product.cpu.abi2", "")]
    return tuple(abi for abi in (listed if any(listed) else older) if re.fullmatch(r"[A-Za-z0-9_-]{1,32}", abi))


def parse_battery(text: str) -> Battery:
    """Return what `dumpsys battery` says."""
    level, scale, tenths = (_number(text, name) for name in ("level", "scale", "temperature"))
    powered = re.findall(r"^\s*\w+ powered: (true|false)\s*$", text, re.MULTILINE)
    return Battery(
        level_percent=100 * level / scale if level is not None and scale else None,
        temperature_c=None if tenths is None else tenths / 10,
        plugged="true" in powered if powered else None,
    )


def parse_thermal_status(text: str) -> int | None:
    """Return the status that `dumpsys thermalservice` names, 0 … 6."""
    match = re.search(r"^\s*Thermal Status: ([0-6])\s*$", text, re.MULTILINE)
    return int(match[1]) if match else None


def parse_memory(text: str) -> int | None:
    """Return the total of /proc/meminfo, in bytes."""
    match = re.search(r"^MemTotal:\s+([0-9]{1,15}) kB\s*$", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def parse_frequencies(text: str) -> dict[int, int | None]:
    """Return each core's frequency in kHz, None where the device does not tell it."""
    lines = re.findall(r"^([0-9]{1,4}) ([0-9]{0,12})\s*$", text, re.MULTILINE)
    return {int(core): int(khz) if khz else None for core, khz in lines if int(core) < MAX_CORES}


def parse_clusters(text: str) -> tuple[Cluster, ...]:
    """Return the cores grouped by their highest frequency, the slowest first."""
    khz = parse_frequencies(text)
    speeds = sorted(set(khz.values()), key=lambda speed: -1 if speed is None else speed)
    return tuple(Cluster(speed, tuple(sorted(core for core in khz if khz[core] == speed))) for speed in speeds)


def tool_path(tool: str) -> str:
    """Return where users put a tool, as its own instructions say."""
    return f"/data/local/tmp/{tool}"


def _tools(text: str) -> dict[str, str]:
    return {tool: tool_path(tool) for tool in TOOLS if tool_path(tool) in text.splitlines()}


def _installed(text: str) -> bool | None:
    if not text.strip():
        return False
    lines = text.split()
    return f"package:{APP}" in lines if all(line.startswith("package:") for line in lines) else None


def _number(text: str, name: str) -> int | None:
    match = re.search(rf"^\s*{name}: (-?[0-9]{{1,9}})\s*$", text, re.MULTILINE)
    return int(match[1]) if match else None


def _first(properties: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((properties[name] for name in names if properties.get(name)), None)
