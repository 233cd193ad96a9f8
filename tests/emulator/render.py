"""A device's state as the files that its tools and /proc and /sys show."""

from pathlib import Path

from tests.emulator.state import ABI_NAMES, Cluster, DeviceState

PLUGS = ("AC", "USB", "Wireless")
KIB = 1024


def tool_files(state: DeviceState) -> dict[str, str]:
    """Return the files that the tools of tests/emulator/tools answer from, by path below $EMULATOR."""
    files = {f"properties/{name}": value for name, value in state.system_properties().items()}
    files["dumpsys/battery"] = battery(state)
    files["dumpsys/thermalservice"] = thermalservice(state)
    files["fixed_performance"] = str(state.fixed_performance).lower()
    files["canary_slowdown"] = str(state.canary_slowdown)
    files["free_bytes"] = "" if state.free_bytes is None else str(state.free_bytes)
    files["cores"] = str(len(state.cores))
    files["packages"] = "".join(f"{name}\n" for name in state.packages)
    files["machine"] = ABI_NAMES.get(state.abis[0], state.abis[0])
    files["kernel"] = state.kernel
    for namespace, values in state.settings.items():
        files |= {f"settings/{namespace}/{key}": value for key, value in values.items()}
    return files


def battery(state: DeviceState) -> str:
    """Return the answer of `dumpsys battery`."""
    plugged = "".join(f"  {plug} powered: {str(state.plugged == plug.lower()).lower()}\n" for plug in PLUGS)
    return (
        f"Current Battery Service state:\n{plugged}  Max charging current: 500000\n"
        f"  status: {2 if state.plugged else 3}\n  health: 2\n  present: true\n  level: {state.battery_level}\n"
        f"  scale: 100\n  voltage: 4123\n  temperature: {round(state.battery_celsius * 10)}\n  technology: Li-ion\n"
    )


def thermalservice(state: DeviceState) -> str:
    """Return the answer of `dumpsys thermalservice`, with its tabs."""
    hottest = f"mStatus={state.thermal_status}"
    readings = (
        f"\tTemperature{{mValue={state.skin_celsius}, mType=3, mName=VIRTUAL-SKIN, {hottest}}}\n"
        f"\tTemperature{{mValue={state.battery_celsius}, mType=2, mName=battery, mStatus=0}}\n"
    )
    return (
        f"IsStatusOverride: false\nThermalEventListeners:\n\tcallbacks: 2\n\tkilled: false\n\tbroadcasts count: -1\n"
        f"ThermalStatusListeners:\n\tcallbacks: 1\n\tkilled: false\n\tbroadcasts count: -1\n"
        f"Thermal Status: {state.thermal_status}\nCached temperatures:\n{readings}HAL Ready: true\n"
        f"HAL connection:\n\tThermalHAL 2.0 connected: yes\nCurrent temperatures from HAL:\n{readings}"
        f"Current cooling devices from HAL:\n\tCoolingDevice{{mValue=0, mType=2, mName=thermal-cpufreq-0}}\n"
    )


def proc_files(state: DeviceState) -> dict[str, str]:
    """Return the files of /proc that are the device's and not this machine's."""
    kib = state.ram_bytes // KIB
    cores = "".join(_cpuinfo(state, number, cluster) for number, cluster in enumerate(state.cores))
    return {
        "cpuinfo": f"{cores}Hardware\t: {state.soc}\n",
        "meminfo": f"MemTotal:       {kib} kB\nMemFree:        {kib // 4} kB\nMemAvailable:   {kib // 2} kB\n"
        "Buffers:            2048 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n",
        "version": f"Linux version {state.kernel} (build-user@build-host) #1 SMP PREEMPT Mon Jan 1 00:00:00 UTC 2024\n",
    }


def _cpuinfo(state: DeviceState, number: int, cluster: Cluster) -> str:
    if state.abis[0].startswith("x86"):
        return f"processor\t: {number}\nvendor_id\t: GenuineIntel\nmodel name\t: {state.soc}\n\n"
    return (
        f"processor\t: {number}\nBogoMIPS\t: 49.15\nFeatures\t: fp asimd aes crc32 atomics fphp asimdhp asimddp\n"
        f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {cluster.part}\n"
        "CPU revision\t: 0\n\n"
    )


def sys_files(state: DeviceState) -> dict[str, str]:
    """Return the files of /sys; there are no others."""
    every = f"0-{len(state.cores) - 1}" if len(state.cores) > 1 else "0"
    files = {f"devices/system/cpu/{name}": f"{every}\n" for name in ("possible", "present", "online")}
    fastest = max(cluster.max_khz for cluster in state.clusters)
    first = 0
    for number, cluster in enumerate(state.clusters):
        clock = state.cluster_khz[number] if state.cluster_khz else cluster.max_khz
        members = range(first, first + cluster.cores)
        policy = _cpufreq(cluster, clock, members)
        folders = [f"devices/system/cpu/cpu{core}" for core in members]
        for folder in (f"devices/system/cpu/cpufreq/policy{first}", *(f"{folder}/cpufreq" for folder in folders)):
            files |= {f"{folder}/{name}": text for name, text in policy.items()}
        for folder in folders:
            files[f"{folder}/cpu_capacity"] = f"{1024 * cluster.max_khz // fastest}\n"
            files[f"{folder}/online"] = "1\n"
            files[f"{folder}/topology/physical_package_id"] = "0\n"
        first += cluster.cores
    for number, (name, celsius) in enumerate((("battery", state.battery_celsius), ("skin-therm", state.skin_celsius))):
        files[f"class/thermal/thermal_zone{number}/type"] = f"{name}\n"
        files[f"class/thermal/thermal_zone{number}/temp"] = f"{round(celsius * 1000)}\n"
    return files


def _cpufreq(cluster: Cluster, clock: int, members: range) -> dict[str, str]:
    return {
        "scaling_cur_freq": f"{clock}\n",
        "scaling_min_freq": f"{cluster.min_khz}\n",
        "scaling_max_freq": f"{cluster.max_khz}\n",
        "cpuinfo_min_freq": f"{cluster.min_khz}\n",
        "cpuinfo_max_freq": f"{cluster.max_khz}\n",
        "scaling_governor": "sched_pixel\n",
        "related_cpus": " ".join(map(str, members)) + "\n",
    }


def write_files(folder: Path, files: dict[str, str], written: dict[Path, str]) -> None:
    """Write what differs from `written`, each file whole or not at all, and remember it there."""
    for name, text in files.items():
        path = folder / name
        if written.get(path) == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.new")
        unfinished.write_text(text, errors="surrogateescape")
        unfinished.rename(path)
        written[path] = text
