"""What devices print becomes facts, or None with the text kept: never a made-up number."""

import pytest

from edge.devices.adb.executable import parse_devices
from edge.devices.adb.facts import (
    Battery,
    Cluster,
    parse_abis,
    parse_battery,
    parse_clusters,
    parse_frequencies,
    parse_memory,
    parse_properties,
    parse_thermal_status,
)
from edge.errors import DeviceError
from tests.devices.adb import texts


def test_every_line_of_adb_devices_is_a_device_with_its_state() -> None:
    listed = parse_devices(texts.DEVICES)
    assert [(device.serial, device.state) for device in listed] == [
        ("0A281JEC200123", "device"),
        ("R58M123ABC", "unauthorized"),
        ("192.168.1.7:40001", "offline"),
        ("????????????", "no permissions"),
        ("adb-9B1-x (2)._adb-tls-connect._tcp", "device"),
        ("[fe80::1%wlan0]:5555", "device"),
        ("emulator-5554", "device"),
    ]
    assert listed[0].facts["model"] == "Pixel_8"
    assert [device.problem is None for device in listed] == [True, False, False, False, True, True, True]


@pytest.mark.parametrize(
    ("state", "advice"), [("unauthorized", "accept"), ("offline", "unplug"), ("no permissions", "udev")]
)
def test_a_device_that_cannot_be_used_says_what_to_do(state: str, advice: str) -> None:
    (device,) = parse_devices(f"S1   {state} transport_id:1\n")
    assert advice in (device.problem or "")


def test_a_serial_that_contains_a_state_is_read_whole() -> None:
    (device,) = parse_devices("x device; reboot   unauthorized usb:1-2 transport_id:4\n")
    assert (device.serial, device.state) == ("x device; reboot", "unauthorized")


def test_a_line_that_is_not_understood_is_an_error_that_shows_it() -> None:
    with pytest.raises(DeviceError, match="'S1 melted'"):
        parse_devices("List of devices attached\nS1 melted\n")


def test_properties_may_have_line_breaks_and_shell_in_them() -> None:
    properties = parse_properties(texts.PROPERTIES)
    assert properties["ro.product.model"] == "Pixel $(reboot) `x`; 8"
    assert properties["persist.notes"] == "first\nsecond"
    assert len(properties) == 7


def test_abis_come_from_the_list_or_from_the_two_properties_of_old_devices() -> None:
    assert parse_abis(parse_properties(texts.PROPERTIES)) == ("arm64-v8a", "armeabi-v7a", "armeabi")
    assert parse_abis({"ro.product.cpu.abi": "x86", "ro.product.cpu.abi2": "armeabi"}) == ("x86", "armeabi")
    assert parse_abis({"ro.product.cpu.abilist": "../../bin;rm -rf /"}) == ()


def test_battery_is_read_in_percent_and_degrees() -> None:
    assert parse_battery(texts.BATTERY) == Battery(85.0, 29.1, True)


@pytest.mark.parametrize("text", ["", "Can't find service: battery", "level: full\nscale: 0\ntemperature: warm"])
def test_a_battery_that_cannot_be_read_is_unknown_not_empty_and_not_cold(text: str) -> None:
    assert parse_battery(text) == Battery(None, None, None)


def test_thermal_status_is_read_or_unknown() -> None:
    assert parse_thermal_status(texts.THERMAL) == 3
    assert parse_thermal_status("Thermal Status: 9") is None
    assert parse_thermal_status("Can't find service: thermalservice") is None


def test_memory_is_read_in_bytes_or_unknown() -> None:
    assert parse_memory(texts.MEMORY) == 7820108 * 1024
    assert parse_memory("MemTotal: lots") is None


def test_cores_are_grouped_by_speed_slowest_first() -> None:
    assert parse_clusters(texts.FREQUENCIES) == (
        Cluster(1704000, (0, 1, 2, 3)),
        Cluster(2367000, (4, 5)),
        Cluster(2914000, (10,)),
    )


def test_cores_without_a_frequency_are_cores_all_the_same() -> None:
    assert parse_frequencies("0 \n1 \n") == {0: None, 1: None}
    assert parse_clusters("0 \n1 \n") == (Cluster(None, (0, 1)),)
    assert parse_clusters("sh: not found") == ()
