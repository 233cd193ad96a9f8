"""executor_runner on emulated phones: every iteration's time, or an error that shows the text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle
from edge.devices.adb.device import AdbDevice, Options
from edge.devices.adb.facts import tool_path
from edge.devices.adb.runners.executor_runner import parse_iterations
from edge.errors import MeasurementError
from edge.profiling import Settings, profile_bundle
from edge.profiling.statistics import samples_ms
from tests.devices.adb.conftest import Phone

Start = Callable[..., Phone]

SAID = """\
I 00:00:00.000433 executorch:cpuinfo_utils.cpp:71] Reading file /sys/devices/soc0/image_version
I 00:00:00.001 executorch:executor_runner.cpp:302] Iteration 1 of 3: 12.500000 ms
I 00:00:00.002 executorch:executor_runner.cpp:302] Iteration 2 of 3: 10.250000 ms
I 00:00:00.003 executorch:executor_runner.cpp:302] Iteration 3 of 3: 10.000000 ms
I 00:00:00.004 executorch:executor_runner.cpp:320] Model executed successfully 3 time(s) in 32.750000 ms.
"""
TOOL = """#!/system/bin/sh
for option; do case "$option" in
--model_path=*) [ -s "${option#*=}" ] || exit 1 ;;
--method_name=prefix) ms=1.0 ;;
--method_name=*) ms=2.0 ;;
--num_executions=*) count="${option#*=}" ;;
esac; done
number=1
while [ "$number" -le "$count" ]; do
    if [ "$number" -eq 1 ]; then echo "Iteration 1 of $count: 50.0 ms"
    else echo "Iteration $number of $count: $ms ms"; fi
    number=$((number + 1))
done
"""


def test_every_iteration_is_read() -> None:
    assert parse_iterations(SAID, 3) == [12.5, 10.25, 10.0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        SAID.replace("Iteration 2 of 3: 10.250000 ms", ""),
        SAID.replace("of 3", "of 4"),
        SAID.replace("10.25", "nan"),
    ],
)
def test_a_missing_iteration_is_an_error_that_shows_the_text(text: str) -> None:
    with pytest.raises(MeasurementError, match="executor_runner says what is not understood"):
        parse_iterations(text, 3)


def test_programs_run_one_by_one_and_end_to_end_times_are_their_sum(
    phone: Start, bundle: Bundle, artifact: Artifact, tmp_path: Path
) -> None:
    target = phone()
    tool = target.emulator.path(tool_path("executor_runner"))
    tool.write_text(TOOL)
    tool.chmod(0o755)
    device = AdbDevice(target.serial, "executor_runner", Options(cool_down_s=0))
    settings = Settings(min_runs=10, max_runs=10)
    run = profile_bundle(bundle, artifact, device, tmp_path / "l.json", settings=settings)
    times = {tuple(entry.programs): set(samples_ms(entry)) for entry in run.entries}
    assert times[("prefix",)] == {1.0}
    assert times[("tail_01",)] == {2.0}
    assert times[("prefix", "tail_01")] == {3.0}
    assert run.entries[0].first_run_ms == 50.0
    assert run.runner == "executor_runner"
