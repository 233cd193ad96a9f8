"""benchmark_model on emulated phones: what old and new versions print, read strictly."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge.devices.adb.device import AdbDevice, Options
from edge.devices.adb.facts import tool_path
from edge.devices.adb.runners.benchmark_model import parse_first, parse_run
from edge.devices.adb.runners.tools import variable
from edge.errors import DeviceError, MeasurementError, RuntimeUnavailableError
from edge.profiling import Run, Settings, profile_bundle
from edge.profiling.statistics import samples_ms
from tests.devices.adb.conftest import Phone
from tests.runtime import golden

Start = Callable[..., Phone]

OLD = """\
STARTING!
Num threads: [1]
Loaded model /data/local/tmp/x.tflite
Initialized session in 1.2ms.
Running benchmark for at least 1 iterations and at least 0.1 seconds but terminate if exceeding 150 seconds.
count=46 first=2510 curr=2150 min=2100 max=2510 avg=2170.5 std=61

Running benchmark for at least 2 iterations and at least 0 seconds but terminate if exceeding 150 seconds.
count=2 first=2145 curr=2155 min=2145 max=2155 avg=2150 std=5

Inference timings in us: Init: 1200, First inference: 2510, Warmup (avg): 2170.5, Inference (avg): 2150
"""
NEW = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: count=1 curr=1.23457e+06
INFO: count=2 first=1.23456e+06 curr=1.2e+06 min=1.2e+06 max=1.23456e+06 avg=1217280 std=17280 p5=1.2e+06 \
median=1217280 p95=1.23456e+06
INFO: Inference timings in us: Init: 1200, First inference: 1.23457e+06, Warmup (avg): 1.2e+06, Inference (avg): 1217280
"""
SAME = NEW.replace(NEW.splitlines()[4], "INFO: count=2 curr=10(all same)")
TOOL = """#!/system/bin/sh
for option; do case "$option" in --graph=*) graph="${option#--graph=}" ;; esac; done
size=$(wc -c < "$graph") || exit 1
echo "count=5 first=9 curr=9 min=9 max=9 avg=9 std=0"
echo "count=2 first=$size curr=$size min=1 max=2 avg=3 std=4"
echo "Inference timings in us: Init: 1, First inference: $((size * 3)), Warmup (avg): 9, Inference (avg): 3"
"""
"""A tool for which a graph takes a microsecond per byte."""


def install(phone: Phone, script: str = TOOL) -> None:
    tool = phone.emulator.path(tool_path("benchmark_model"))
    tool.write_text(script)
    tool.chmod(0o755)


def profile(phone: Phone, out: Path, runner: str = "benchmark_model") -> Run:
    device = AdbDevice(phone.serial, runner, Options(cool_down_s=0))
    settings = Settings(min_runs=10, max_runs=10)
    return profile_bundle(golden.bundle(), golden.artifact(), device, out, settings=settings)


@pytest.mark.parametrize(
    ("text", "runs", "first"),
    [(OLD, (2.145, 2.155), 2.51), (NEW, (1234.56, 1200.0), 1234.57), (SAME, (0.01, 0.01), 1234.57)],
    ids=["old", "new", "all-same"],
)
def test_both_runs_and_the_first_one_are_read_in_milliseconds(
    text: str, runs: tuple[float, float], first: float
) -> None:
    assert parse_run(text) == pytest.approx(runs)
    assert parse_first(text) == pytest.approx(first)


@pytest.mark.parametrize(
    "text",
    [
        "",
        OLD.replace("count=2 first", "count=3 first"),
        OLD.replace("first=2145 curr=2155", "first=-nan curr=2155"),
        OLD.replace("first=2145 ", ""),
        OLD.partition("count=2")[0],
        OLD + "count=2 first=1 curr=1 min=1\n",
        "ERROR: Failed to load the model",
    ],
)
def test_what_is_not_understood_is_an_error_that_shows_it_and_never_a_zero(text: str) -> None:
    with pytest.raises(MeasurementError, match="what is not understood"):
        parse_run(text)


def test_timings_without_a_first_inference_are_an_error() -> None:
    with pytest.raises(MeasurementError, match="what is not understood"):
        parse_first(OLD.replace("First inference: 2510, ", ""))


def test_every_unit_is_a_plain_file_of_its_own_and_end_to_end_one_graph(phone: Start, tmp_path: Path) -> None:
    target = phone()
    install(target)
    run = profile(target, tmp_path / "l.json")
    assert run.complete
    assert run.runner == "benchmark_model"
    assert run.environment["runtime_version"].startswith("litert benchmark_model ")
    times = {tuple(entry.programs): set(samples_ms(entry)) for entry in run.entries}
    assert all(len(values) == 1 for values in times.values()), times
    sizes = {size / 1e3 for size in target.emulator.log.pushed.values()}
    assert {value for values in times.values() for value in values} == sizes
    for entry in run.entries:
        assert entry.first_run_ms == pytest.approx(3 * samples_ms(entry)[0])


def test_a_tool_on_this_machine_is_pushed(phone: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "benchmark_model"
    tool.write_text(TOOL)
    monkeypatch.setenv(variable("benchmark_model"), str(tool))
    assert profile(phone(), tmp_path / "l.json").complete


def test_a_silent_fallback_to_the_cpu_is_a_warning(phone: Start, tmp_path: Path) -> None:
    target = phone()
    silent = "Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."
    install(target, f'{TOOL}echo "{silent}" >&2\n')
    run = profile(target, tmp_path / "l.json", "benchmark_model_gpu")
    (warning,) = [warning for warning in run.warnings if warning.code == "cpu_fallback"]
    assert "prefix" in warning.message
    assert any("--use_gpu=true" in command for command in target.emulator.log.commands)


def test_a_phone_without_the_tool_says_where_it_belongs(phone: Start, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match="push a build for its ABI to /data/local/tmp/ben"):
        profile(phone(), tmp_path / "l.json")


def test_a_tool_that_fails_is_one_line_with_its_words(phone: Start, tmp_path: Path) -> None:
    target = phone()
    install(target, "#!/system/bin/sh\necho ERROR: no such graph >&2\nexit 1\n")
    with pytest.raises(DeviceError, match="ERROR: no such graph"):
        profile(target, tmp_path / "l.json")


def test_an_artifact_of_another_runtime_is_refused_with_the_runners_that_fit(phone: Start, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"no runner 'native' for litert artifacts.*benchmark_model"):
        profile(phone(), tmp_path / "l.json", "native")
