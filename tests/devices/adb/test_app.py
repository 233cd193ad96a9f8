"""The demo app's contract: one request, one answer, through `am instrument` on an emulated phone."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.devices.adb.device import AdbDevice, Options
from edge.devices.adb.facts import APP
from edge.devices.adb.runners.app import parse_answer
from edge.errors import MeasurementError, RuntimeUnavailableError
from edge.profiling import Settings, profile_bundle
from edge.profiling.statistics import samples_ms
from tests.devices.adb.conftest import Phone
from tests.runtime import golden

Start = Callable[..., Phone]

ANSWER = {
    "format": "dsnet-app-answer/1",
    "runtime_version": "litert 2.1.0",
    "first_run_ms": 9.0,
    "samples_ms": [1.0, 2.0],
    "canary_ms": 1.0,
}
INSTALLED = f"""#!/system/bin/sh
case "$1" in package) echo package:{APP} ;; *) exit 0 ;; esac
"""
AM = """#!/system/bin/sh
# am instrument -w -r -e request BASE64 COMPONENT
request=$(echo "$6" | base64 -d)
echo "$request" >> /data/local/tmp/requests
runs="${request##*\\"runs\\": }"
runs="${runs%%[!0-9]*}"
times=2.0
while [ "$runs" -gt 1 ]; do times="$times, 2.0"; runs=$((runs - 1)); done
answer='{"format": "dsnet-app-answer/1", "runtime_version": "litert 2.1.0", "first_run_ms": 9.0, "canary_ms": 1.0'
echo "INSTRUMENTATION_STATUS: id=dsnet"
echo "INSTRUMENTATION_RESULT: answer=$(echo "$answer, \\"samples_ms\\": [$times]}" | base64 | tr -d '\\n')"
echo "INSTRUMENTATION_CODE: -1"
"""


def printed(answer: Any) -> str:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return f"INSTRUMENTATION_RESULT: answer={b64encode(text.encode()).decode()}\nINSTRUMENTATION_CODE: -1\n"


def test_an_answer_is_read() -> None:
    answer = parse_answer(printed(ANSWER))
    assert (answer.first_run_ms, answer.samples_ms, answer.canary_ms) == (9.0, [1.0, 2.0], 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INSTRUMENTATION_RESULT: shortMsg=Process crashed.\nINSTRUMENTATION_CODE: 0\n",
        printed("not json"),
        printed({**ANSWER, "format": "dsnet-app-answer/2"}),
        printed({**ANSWER, "samples_ms": [-1.0]}),
        printed({**ANSWER, "samples_ms": ["1"]}),
        "INSTRUMENTATION_RESULT: answer=a===\n",
        printed(ANSWER) * 2,
    ],
)
def test_anything_else_is_an_error_of_one_line(text: str) -> None:
    with pytest.raises(MeasurementError, match="the app") as caught:
        parse_answer(text)
    assert "\n" not in str(caught.value)


def profile(phone: Phone, out: Path, **options: Any) -> Any:
    device = AdbDevice(phone.serial, "app", Options(cool_down_s=0, **options))
    settings = Settings(min_runs=10, max_runs=10)
    return profile_bundle(golden.bundle(), golden.artifact(), device, out, settings=settings)


def test_the_app_is_asked_for_every_block(phone: Start, tmp_path: Path) -> None:
    target = phone()
    target.emulator.install_tool("cmd", INSTALLED)
    target.emulator.install_tool("am", AM)
    run = profile(target, tmp_path / "l.json")
    assert run.complete
    assert run.environment["runtime_version"] == "litert 2.1.0"
    for entry in run.entries:
        assert (entry.first_run_ms, set(samples_ms(entry))) == (9.0, {2.0})
    requests = [json.loads(line) for line in target.emulator.path("/data/local/tmp/requests").read_text().splitlines()]
    assert requests[0]["format"] == "dsnet-app-request/1"
    assert target.emulator.path(requests[0]["files"]["model"]).read_bytes() == golden.content()
    units = [tuple(request["units"]) for request in requests]
    assert {tuple(entry.programs) for entry in run.entries} == set(units)


def test_an_error_of_the_app_is_its_words(phone: Start, tmp_path: Path) -> None:
    target = phone()
    said = b64encode(b'{"format": "dsnet-app-answer/1", "error": "no such\\nprogram"}').decode()
    assert b64decode(said)
    target.emulator.install_tool("cmd", INSTALLED)
    target.emulator.install_tool("am", f"#!/system/bin/sh\necho INSTRUMENTATION_RESULT: answer={said}\n")
    with pytest.raises(RuntimeUnavailableError, match="the app: no such program"):
        profile(target, tmp_path / "l.json")


def test_a_phone_without_the_app_says_so(phone: Start, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match="is not installed; adb install it"):
        profile(phone(), tmp_path / "l.json")


def test_an_app_cannot_be_given_cores(phone: Start, tmp_path: Path) -> None:
    target = phone()
    target.emulator.install_tool("cmd", INSTALLED)
    with pytest.raises(RuntimeUnavailableError, match="leave --cores out"):
        profile(target, tmp_path / "l.json", cores="big")
