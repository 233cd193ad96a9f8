from pathlib import Path

import pytest

from tests.emulator.processes import device_process
from tests.emulator.real_adb import Adb
from tests.emulator.sandbox import NoSandboxError, sandbox_of
from tests.emulator.state import DeviceState


@pytest.fixture(autouse=True)
def namespaces(tmp_path: Path) -> None:
    try:
        with sandbox_of(DeviceState(), tmp_path / "probe"):
            pass
    except NoSandboxError as error:
        pytest.skip(str(error))


def test_devices_of_other_processes_answer_side_by_side_and_end_with_their_block(adb: Adb, tmp_path: Path) -> None:
    models = ("Pixel 8", "Pixel 9")
    folders = [tmp_path / model for model in models]
    with (
        device_process(DeviceState(model=models[0]), folders[0]) as first,
        device_process(DeviceState(model=models[1]), folders[1]) as second,
    ):
        serials = [adb.connect(device) for device in (first, second)]
        said = [adb("shell", "getprop ro.product.model", serial=serial).stdout.decode().strip() for serial in serials]
    assert said == list(models)
    assert b"refused" in adb("connect", first.serial).stdout
