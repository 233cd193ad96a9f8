"""The programs that time bundles on a device."""

from edge.devices.adb.facts import Facts
from edge.devices.adb.runners.app import AppRunner
from edge.devices.adb.runners.base import Runner
from edge.devices.adb.runners.benchmark_model import BenchmarkModel
from edge.devices.adb.runners.executor_runner import ExecutorRunner
from edge.devices.adb.runners.native import NativeRunner
from edge.errors import RuntimeUnavailableError

ALL: tuple[Runner, ...] = (
    NativeRunner(),
    ExecutorRunner(),
    BenchmarkModel("benchmark_model"),
    BenchmarkModel("benchmark_model_gpu", "--use_gpu=true"),
    AppRunner(),
)
RUNNERS: dict[str, Runner] = {runner.name: runner for runner in ALL}
"""By name, as `--runner` takes them."""


def what_can_run(facts: Facts) -> dict[str, str | None]:
    """Return, for every runner, what keeps it from running on a device; None where nothing does."""
    return {name: runner.missing(facts) for name, runner in RUNNERS.items()}


def find_device_runner(name: str | None, runtime: str) -> Runner:
    """Return the runner `name`, or the usual one for a runtime; raises RuntimeUnavailableError with the valid ones."""
    fitting = {runner.name: runner for runner in RUNNERS.values() if runtime in runner.runtimes}
    if name is None and fitting:
        return next(iter(fitting.values()))
    if name not in fitting:
        valid = ", ".join(fitting) or "none"
        wanted = f"runner {name!r}" if name else "runner"
        raise RuntimeUnavailableError(f"no {wanted} for {runtime} artifacts on a device; valid for --runner: {valid}")
    return fitting[name]
