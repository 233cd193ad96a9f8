"""The demo app on a device: the runtime inside an app, scheduled as apps are. The contract is in docs/profiling.md.

Each block is one `am instrument`. Request and answer are JSON in base64, so that neither the shell nor the tool's own
line-based output can alter them.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from edge.bundle.manifest import Artifact, Record
from edge.bundle.records import parse_record
from edge.devices.adb.facts import APP, Facts
from edge.devices.adb.runners.base import OpenWorkload, Place
from edge.devices.native import artifact_files
from edge.devices.native_process import json_line
from edge.errors import BundleError, MeasurementError, RuntimeUnavailableError
from edge.profiling.latency_table import Milliseconds, QualityWarning
from edge.runtime.route import Route

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle

COMPONENT = f"{APP}/.ProfileInstrumentation"
REQUEST, ANSWER = "dsnet-app-request/1", "dsnet-app-answer/1"
WARM_UP_RUNS = 5
"""Untimed runs at the start of each block: every block is a fresh process of the app."""
RESULT = re.compile(r"^INSTRUMENTATION_RESULT: answer=([A-Za-z0-9+/=]+)\s*$", re.MULTILINE)
SHOWN_CHARACTERS = 500


class Answer(Record):
    """What the app answers to a request."""

    format: str
    error: str | None = None
    """What went wrong, in one line; nothing else is read then."""
    runtime_version: str = ""
    first_run_ms: Milliseconds = 0.0
    samples_ms: list[Milliseconds] = Field(default_factory=list)
    canary_ms: Milliseconds = 0.0


class AppRunner:
    """The app."""

    name = "app"
    runtimes = ("litert", "executorch")

    def missing(self, facts: Facts) -> str | None:
        """Return what is missing: the app."""
        return None if facts.app_installed else f"the demo app ({APP}) is not installed; adb install it"

    def open(
        self, place: Place, bundle: "Bundle", artifact: Artifact, programs: Sequence[str], threads: int
    ) -> OpenWorkload:
        """Push the artifact's files, which the app may read, and ask the app for its runtime."""
        if missing := self.missing(place.facts):
            raise RuntimeUnavailableError(f"{place.adb.serial}: {missing}")
        if artifact.runtime not in self.runtimes:
            raise RuntimeUnavailableError(
                f"the app runs {' and '.join(self.runtimes)} artifacts, not {artifact.runtime}"
            )
        if place.mask:
            raise RuntimeUnavailableError("an app cannot be given cores: the system chooses; leave --cores out")
        local = artifact_files(bundle, artifact) if artifact.runtime == "executorch" else {}
        local = local or {"model": bundle.verified_path(artifact)}
        request = {
            "format": REQUEST,
            "runtime": artifact.runtime,
            "files": {role: place.store.ensure(path) for role, path in local.items()},
            "programs": [program.model_dump() for program in artifact.programs if program.name in programs],
            "threads": threads,
            "thresholds": [0.0] * (len(Route.of(artifact).bodies) - 1),
        }
        return AppWorkload(place, request, programs[0])


class AppWorkload:
    """Programs of one artifact in the app."""

    takes_turns = False
    """Every block is a process of its own."""

    def __init__(self, place: Place, request: Mapping[str, Any], canary: str) -> None:
        """`request` is what all requests have in common."""
        self._place, self._request = place, request
        self._seen: set[tuple[str, ...]] = set()
        self._canary = canary
        self._canary_ms: float | None = None
        self.runtime_version = self._ask([canary], 1).runtime_version
        """The runtime's name and version, as the app tells it."""

    def run_block(self, programs: Sequence[str], runs: int) -> list[float]:
        """Run the programs in the app; the first of all times of a unit is its very first run in a process."""
        answer = self._ask(programs, runs)
        self._canary_ms = answer.canary_ms
        if tuple(programs) in self._seen:
            return answer.samples_ms
        self._seen.add(tuple(programs))
        return [answer.first_run_ms, *answer.samples_ms[1:]]

    def canary_ms(self) -> float:
        """Return the time of fixed work in the app: right after the last block, or asked for anew the second time."""
        last, self._canary_ms = self._canary_ms, None
        return self._ask([self._canary], 1).canary_ms if last is None else last

    def warnings(self) -> list[QualityWarning]:
        """Return nothing: what the app notices it answers as an error."""
        return []

    def close(self) -> None:
        """Do nothing: the app ends after every block."""

    def _ask(self, units: Sequence[str], runs: int) -> Answer:
        request = {**self._request, "units": list(units), "warm_up_runs": WARM_UP_RUNS, "runs": runs}
        command = ["am", "instrument", "-w", "-r", "-e", "request", b64encode(json_line(request)).decode(), COMPONENT]
        answer = parse_answer(self._place.adb.shell(command, self._place.answer_s))
        if answer.error is not None:
            raise RuntimeUnavailableError(f"{self._place.adb.serial}: the app: {' '.join(answer.error.split())}")
        if len(answer.samples_ms) != runs or not answer.runtime_version:
            raise MeasurementError(f"the app answered {len(answer.samples_ms)} times instead of {runs}, or no version")
        return answer


def parse_answer(text: str) -> Answer:
    """Return the app's answer in what `am instrument` printed; a MeasurementError that shows the text without one."""
    found = RESULT.findall(text)
    if len(found) != 1:
        shown = " ".join(text.split())[-SHOWN_CHARACTERS:]
        raise MeasurementError(f"the app gave no answer (did it crash? adb logcat tells): {shown!r}")
    try:
        return parse_record(b64decode(found[0], validate=True), Answer, ANSWER, "the app's answer")
    except (BundleError, ValueError) as error:
        raise MeasurementError(f"the app's answer cannot be read: {error}") from error
