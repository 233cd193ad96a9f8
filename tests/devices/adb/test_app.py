"""The demo app's contract: one request, one answer, through `am start` on an emulated phone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.reader import open_bundle
from edge.devices.adb.device import AdbDevice, Options
from edge.devices.adb.facts import APP
from edge.devices.adb.runners import app
from edge.devices.adb.runners.app import ANSWERS, parse_answer
from edge.errors import DeviceError, DeviceLostError, MeasurementError, RuntimeUnavailableError
from edge.profiling import Settings, profile_bundle
from edge.profiling.statistics import samples_ms
from tests.devices.adb.conftest import Phone
from tests.native.data import NETWORKS
from tests.runtime import golden

Start = Callable[..., Phone]

ANSWER = {
    "format": "dsnet-app-answer/1",
    "runtime_version": "litert 2.1.0",
    "first_run_ms": 9.0,
    "samples_ms": [1.0, 2.0],
    "canary_ms": 1.0,
}
REQUESTS = "/data/local/tmp/requests"
SAY = f"""
answer() {{ mkdir -p {ANSWERS} && printf %s "$1" >{ANSWERS}/part && mv {ANSWERS}/part "{ANSWERS}/$token"; }}
request=$(echo "$1" | base64 -d) token=$2
"""
MEASURE = f"""{SAY}
echo "$request" >>{REQUESTS}
runs="${{request##*\\"runs\\": }}"
runs="${{runs%%[!0-9]*}}"
times=2.0
while [ "$runs" -gt 1 ]; do times="$times, 2.0"; runs=$((runs - 1)); done
version='"format": "dsnet-app-answer/1", "runtime_version": "litert 2.1.0"'
answer "{{$version, \\"first_run_ms\\": 9.0, \\"canary_ms\\": 1.0, \\"samples_ms\\": [$times]}}"
"""


def encoded(answer: Any) -> bytes:
    return json.dumps(answer).encode()


def test_an_answer_is_read() -> None:
    answer = parse_answer(encoded(ANSWER))
    assert (answer.first_run_ms, answer.samples_ms, answer.canary_ms) == (9.0, [1.0, 2.0], 1.0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"cat: two\nlines",
        b"\xff\xfe\x00",
        encoded([ANSWER]),
        encoded({**ANSWER, "format": "dsnet-app-answer/2"}),
        encoded({**ANSWER, "samples_ms": [-1.0]}),
        encoded({**ANSWER, "samples_ms": ["1"]}),
        encoded(ANSWER) * 2,
    ],
)
def test_anything_else_is_an_error_of_one_line_that_shows_it(data: bytes) -> None:
    with pytest.raises(MeasurementError, match=r"the app's answer: .*; it begins '") as caught:
        parse_answer(data)
    assert "\n" not in str(caught.value)


def installed(phone: Start, main: str) -> Phone:
    target = phone()
    target.emulator.install_app(APP, main)
    return target


def profile(phone: Phone, out: Path, **options: Any) -> Any:
    device = AdbDevice(phone.serial, "app", Options(cool_down_s=0, **options))
    settings = Settings(min_runs=10, max_runs=10)
    return profile_bundle(golden.bundle(), golden.artifact(), device, out, settings=settings)


def requests(phone: Phone) -> list[dict[str, Any]]:
    return [json.loads(line) for line in phone.emulator.path(REQUESTS).read_text().splitlines()]


def test_the_app_is_asked_for_every_block(phone: Start, tmp_path: Path) -> None:
    target = installed(phone, MEASURE)
    run = profile(target, tmp_path / "l.json")
    assert run.complete
    assert run.environment["runtime_version"] == "litert 2.1.0"
    for entry in run.entries:
        assert (entry.first_run_ms, set(samples_ms(entry))) == (9.0, {2.0})
    asked = requests(target)
    assert asked[0]["format"] == "dsnet-app-request/2"
    model, artifact = asked[0]["files"]["model"], golden.artifact()
    assert target.emulator.path(model.pop("path")).read_bytes() == golden.content()
    assert model == {"bytes": artifact.bytes, "sha256": artifact.sha256}
    assert asked[0]["policy"] == {
        "kind": "tree",
        "widths": [0, 1],
        "root": {"thresholds": [0.0], "next": [0, 1]},
    }
    assert len(run.entries) == 5
    assert {tuple(request["units"]): [each["name"] for each in request["programs"]] for request in asked} == {
        ("prefix",): ["prefix"],
        ("tail_00",): ["prefix", "tail_00"],
        ("tail_01",): ["prefix", "tail_01"],
        ("prefix", "tail_00"): ["prefix", "tail_00"],
        ("prefix", "tail_01"): ["prefix", "tail_01"],
    }, "the programs that are needed, and no others"
    assert list(target.emulator.path(ANSWERS).iterdir()) == [], "answers that were read are gone"


def test_the_app_is_given_all_programs_that_lead_to_a_unit(phone: Start) -> None:
    target, bundle = installed(phone, MEASURE), open_bundle(NETWORKS / "two_gates")
    device = AdbDevice(target.serial, "app", Options(cool_down_s=0))
    artifact = bundle.artifact("executorch", "int8")
    with device.open(bundle, artifact, ["prefix", "stage_1_01", "tail_01_02"], 1) as workload:
        workload.run_block(["tail_01_02"], 2)
        workload.run_block(["prefix", "stage_1_01", "tail_01_02"], 2)
    ways = ["prefix", "stage_1_01", "tail_01_02"]
    asked = [request for request in requests(target) if request["runs"] == 2]
    assert [request["units"] for request in asked] == [ways[2:], ways]
    assert [[each["name"] for each in request["programs"]] for request in asked] == [ways, ways]


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (
            '{"format": "dsnet-app-answer/1", "error": "no such\\nprogram"}',
            RuntimeUnavailableError,
            "app: no such p",
        ),
        ("no JSON at all", MeasurementError, "the app's answer: not JSON .*; it begins 'no JSON at all'"),
        ('{"format": "dsnet-app-answer/1"}', MeasurementError, "answered 0 times instead of 1, or no version"),
    ],
    ids=["error", "garbage", "nothing"],
)
def test_an_app_that_does_not_measure_is_one_line(
    phone: Start, tmp_path: Path, answer: str, kind: type[Exception], message: str
) -> None:
    target = installed(phone, f"{SAY}\nanswer '{answer}'")
    with pytest.raises(kind, match=message) as caught:
        profile(target, tmp_path / "l.json")
    assert "\n" not in str(caught.value)


def test_an_app_that_crashes_is_one_line_long_before_the_time_is_up(phone: Start, tmp_path: Path) -> None:
    target = installed(phone, "kill -9 $$")
    with pytest.raises(MeasurementError, match=r"the app ended without an answer, or did not start .*: Starting: Int"):
        profile(target, tmp_path / "l.json", answer_s=600)


def test_an_activity_that_is_not_there_is_said_in_the_words_of_the_phone(phone: Start, tmp_path: Path) -> None:
    target = phone(packages=(APP,))
    with pytest.raises(MeasurementError, match=r"Activity class \{.*BenchmarkActivity\} does not exist"):
        profile(target, tmp_path / "l.json", answer_s=600)


def test_an_app_that_hangs_is_ended_when_the_time_is_up(phone: Start, tmp_path: Path) -> None:
    target = installed(phone, "while true; do sleep 1; done")
    with pytest.raises(MeasurementError, match="no answer from the app for 2 s; it was ended there"):
        profile(target, tmp_path / "l.json", answer_s=2)
    assert not [line for line in target.emulator.processes().values() if APP in line]


def test_an_app_that_hangs_is_ended_there_when_looking_takes_longer_than_planned(phone: Start, tmp_path: Path) -> None:
    target = installed(phone, "tail -f /dev/null")
    target.emulator.install_tool("sleep", "#!/system/bin/sh\nexec timeout 4 tail -f /dev/null\n")
    with pytest.raises(MeasurementError, match="no answer from the app for 2 s; it was ended there"):
        profile(target, tmp_path / "l.json", answer_s=2)
    assert not [line for line in target.emulator.processes().values() if APP in line]


def test_an_app_of_an_earlier_request_is_ended_before_the_next(phone: Start, tmp_path: Path) -> None:
    target = installed(phone, f"{MEASURE}\nsleep 1000")
    assert profile(target, tmp_path / "l.json").complete
    assert len([line for line in target.emulator.processes().values() if f"{APP}/main" in line]) == 1


def test_an_answer_that_may_not_be_read_is_one_line(phone: Start, tmp_path: Path) -> None:
    target = installed(phone, f"{SAY}\nmkdir -p {ANSWERS}; echo >{ANSWERS}/part; chmod 0 {ANSWERS}/part\n"
                       f'mv {ANSWERS}/part "{ANSWERS}/$token"')  # fmt: skip
    with pytest.raises(DeviceError, match=r"the app's answer cannot be read there: .*Permission denied"):
        profile(target, tmp_path / "l.json")


def test_a_phone_that_is_lost_while_the_app_works_is_asked_again(phone: Start, tmp_path: Path) -> None:
    target = installed(phone, MEASURE)
    fault = target.emulator.faults.vanish("command", "am start", nth=4, back_after=0.5)
    assert profile(target, tmp_path / "l.json").complete
    assert fault.happened.is_set()


def test_a_phone_that_stays_away_is_one_line(phone: Start, tmp_path: Path) -> None:
    target = installed(phone, MEASURE)
    target.emulator.faults.vanish("command", "am start", nth=4)
    with pytest.raises(DeviceLostError, match=r"did not come back within 1 s; finished blocks .* --resume goes on"):
        profile(target, tmp_path / "l.json", back_within_s=1)


def test_a_request_that_adb_cannot_pass_on_is_one_line(
    phone: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = installed(phone, MEASURE)
    monkeypatch.setattr(app, "MAX_REQUEST_BYTES", 500)
    with pytest.raises(RuntimeUnavailableError, match=r"a request to the app of [0-9]+ bytes, but adb passes on no"):
        profile(target, tmp_path / "l.json")


def test_the_longest_request_arrives(phone: Start) -> None:
    target = phone()
    longest = "A" * app.MAX_REQUEST_BYTES
    target.emulator.install_app(APP, f'{SAY}\nanswer "${{#1}}"')
    arguments = [APP, app.ACTIVITY, ANSWERS, "0" * 32, longest, "50"]
    assert target.adb.shell(["sh", "-c", app.ASK, "sh", *arguments]) == str(app.MAX_REQUEST_BYTES)


def test_a_phone_without_the_app_says_so(phone: Start, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match="is not installed; adb install it"):
        profile(phone(), tmp_path / "l.json")


def test_an_app_cannot_be_given_cores(phone: Start, tmp_path: Path) -> None:
    target = phone(packages=(APP,))
    with pytest.raises(RuntimeUnavailableError, match="leave --cores out"):
        profile(target, tmp_path / "l.json", cores="big")
