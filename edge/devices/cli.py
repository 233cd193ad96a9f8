"""`dsnet devices`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edge.devices.adb.facts import Facts

PROPERTIES = ("model", "SoC", "ABI", "system", "cores", "memory", "battery", "thermal status", "can run")
Described = tuple[dict[str, Any], list[object]]
"""A device as a record for programs, and as values of PROPERTIES for people."""


def devices(
    clean: Annotated[
        str | None,
        typer.Option(
            metavar="SERIAL|all", help="Remove all that dsnet profile left on a device, or on all; list nothing."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable results.")] = False,
) -> None:
    """List this machine and the Android devices that adb sees.

    With what each is, how warm it is and what can run on it. Settings of a device that an earlier run could not undo
    are undone.
    """
    problems = _list(as_json) if clean is None else _clean(clean, as_json)
    if clean is not None and problems:
        raise typer.Exit(2)


def _list(as_json: bool) -> list[str]:
    """Print what there is; returns, and prints, what went wrong."""
    from common.console import one_line, print_json, stdout, table
    from edge.devices.adb.executable import list_devices
    from edge.devices.base import problem_of
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
            problems.append(problem_of(device.serial, error))
    if as_json:
        print_json({"devices": [record for record, _ in found], "problems": problems})
        return problems
    for record, values in found:
        stdout().print(table(one_line(record["serial"]), ("property", "value"), zip(PROPERTIES, values, strict=True)))
    _print_problems(problems)
    return problems


def _clean(wanted: str, as_json: bool) -> list[str]:
    """Remove what is ours from devices and print how much that was; returns, and prints, what went wrong."""
    from common.console import one_line, print_json
    from edge.devices.adb.executable import choose_devices
    from edge.devices.adb.store import ROOT
    from edge.devices.base import problem_of
    from edge.errors import EdgeError

    freed: dict[str, int] = {}
    problems = []
    for serial in choose_devices(wanted):
        try:
            freed[serial] = _emptied(serial)
        except EdgeError as error:
            problems.append(problem_of(serial, error))
    if as_json:
        cleaned = [{"serial": serial, "freed_bytes": size} for serial, size in freed.items()]
        print_json({"cleaned": cleaned, "problems": problems})
        return problems
    for serial, size in freed.items():
        typer.echo(f"{one_line(serial)}: removed {ROOT}, {size} bytes")
    _print_problems(problems)
    return problems


def _emptied(serial: str) -> int:
    """Undo what is left to undo on a device and remove what is ours; returns the bytes."""
    from edge.devices.adb.client import Adb
    from edge.devices.adb.settings import restore
    from edge.devices.adb.store import Store

    adb = Adb(serial)
    adb.persistently(lambda: restore(adb))
    return Store(adb).clean()


def _print_problems(problems: list[str]) -> None:
    from common.console import one_line

    for problem in problems:
        typer.echo(one_line(problem), err=True)


def _local() -> Described:
    """Return what this machine is."""
    from edge.devices.local import LocalDevice
    from edge.runtime.open_session import available_runtimes

    facts = LocalDevice().fingerprint()
    can_run = {**dict.fromkeys(available_runtimes()), "native": _missing_runner()}
    values = [
        facts["cpu"] or "–", "–", facts["machine"], f"{facts['os']} {facts['kernel']}",
        facts["logical_cores"], _gibibytes(facts["memory_bytes"]), "–", "–", _able(can_run),
    ]  # fmt: skip
    return {"serial": "local", **facts, "can_run": can_run}, values


def _missing_runner() -> str | None:
    """Return what keeps the native runner from running on this machine; None where nothing does."""
    from edge.devices.native import find_runner
    from edge.errors import RuntimeUnavailableError

    try:
        find_runner()
    except RuntimeUnavailableError as error:
        return str(error)
    return None


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
    system = (facts.android and f"Android {facts.android}", facts.kernel and f"kernel {facts.kernel}")
    level = "–" if battery.level_percent is None else f"{battery.level_percent:.0f}%"
    warmth = "" if battery.temperature_c is None else f" {battery.temperature_c:.0f} °C"
    return [
        facts.model or "–", facts.soc or "–", ", ".join(facts.abis) or "–", ", ".join(filter(None, system)) or "–",
        f"{facts.cores}: {clusters}" if clusters else "–", _gibibytes(facts.memory_bytes), level + warmth,
        "–" if facts.thermal_status is None else facts.thermal_status, _able(can_run),
    ]  # fmt: skip


def _able(can_run: dict[str, str | None]) -> str:
    """Return the names of what can run."""
    return ", ".join(name for name, missing in can_run.items() if missing is None) or "nothing"


def _gibibytes(size: int | None) -> str:
    return "–" if size is None else f"{size / 2**30:.1f} GiB"
