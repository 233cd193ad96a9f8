"""`dsnet devices`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edge.devices.adb.facts import Facts

PROPERTIES = ("model", "SoC", "ABI", "system", "cores", "memory", "battery", "thermal status", "can run")
Described = tuple[dict[str, Any], list[object]]
"""A device as a record for programs, and as values of PROPERTIES for people."""


def devices(as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable results.")] = False) -> None:
    """List this machine and the Android devices that adb sees.

    With what each is, how warm it is and what can run on it. Settings of a device that an earlier run could not undo
    are undone.
    """
    from common.console import one_line, print_json, stdout, table
    from edge.devices.adb.executable import list_devices
    from edge.errors import EdgeError, RuntimeUnavailableError

    found, problems = [_local()], []
    try:
        listed = list_devices()
    except RuntimeUnavailableError as error:
        listed, problems = [], [str(error)]
    for device in listed:
        try:
            found.append(_asked(device.serial)) if device.problem is None else problems.append(device.problem)
        except EdgeError as error:
            problems.append(f"{device.serial}: {error}")
    if as_json:
        print_json({"devices": [record for record, _ in found], "problems": problems})
        return
    for record, values in found:
        stdout().print(table(record["serial"], ("property", "value"), zip(PROPERTIES, values, strict=True)))
    for problem in problems:
        typer.echo(one_line(problem), err=True)


def _local() -> Described:
    """Return what this machine is."""
    from edge.devices.local import LocalDevice
    from edge.runtime.open_session import available_runtimes

    facts, runtimes = LocalDevice().fingerprint(), available_runtimes()
    values = [
        facts["cpu"] or "–", "–", facts["machine"], f"{facts['os']} {facts['kernel']}",
        facts["logical_cores"], _gibibytes(facts["memory_bytes"]), "–", "–", ", ".join(runtimes) or "nothing",
    ]  # fmt: skip
    return {"serial": "local", **facts, "can_run": dict.fromkeys(runtimes)}, values


def _asked(serial: str) -> Described:
    """Return what a device says of itself."""
    from edge.devices.adb.client import Adb
    from edge.devices.adb.facts import read_facts
    from edge.devices.adb.runners import what_can_run
    from edge.devices.adb.settings import restore

    adb = Adb(serial)
    restore(adb)
    facts = read_facts(adb)
    can_run = what_can_run(facts)
    return {**facts.record(), "can_run": can_run}, _values(facts, can_run)


def _values(facts: "Facts", can_run: dict[str, str | None]) -> list[object]:
    battery = facts.battery
    clusters = " + ".join(
        f"{len(cluster.cores)}" + ("" if cluster.max_khz is None else f"×{cluster.max_khz / 1e6:.2g} GHz")
        for cluster in facts.clusters
    )
    level = "–" if battery.level_percent is None else f"{battery.level_percent:.0f}%"
    warmth = "" if battery.temperature_c is None else f" {battery.temperature_c:.0f} °C"
    able = [name for name, missing in can_run.items() if missing is None]
    return [
        facts.model or "–", facts.soc or "–", ", ".join(facts.abis) or "–", f"Android {facts.android}",
        clusters or "–", _gibibytes(facts.memory_bytes), level + warmth,
        "–" if facts.thermal_status is None else facts.thermal_status, ", ".join(able) or "nothing",
    ]  # fmt: skip


def _gibibytes(size: int | None) -> str:
    return "–" if size is None else f"{size / 2**30:.1f} GiB"
