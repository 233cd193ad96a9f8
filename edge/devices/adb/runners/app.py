"""The demo app on a device: the runtime inside the app that is in front. The contract is in docs/profiling.md.

Each block is one start of an activity. The request goes along in base64, which no shell alters, with a token; the
answer is a file that bears the token's name, and is there whole or not at all.
"""

import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from pydantic import Field

from edge.bundle.manifest import Artifact, Record, WeightsFile
from edge.bundle.nested.weights import weights_files
from edge.bundle.records import parse_record
from edge.devices.adb.facts import APP, Facts
from edge.devices.adb.runners.base import OpenWorkload, Place
from edge.devices.native import needed_programs
from edge.devices.native_process import json_line, one_line
from edge.devices.timed_policy import timed_policy
from edge.errors import BundleError, DeviceError, MeasurementError, RuntimeUnavailableError
from edge.profiling.latency_table import Milliseconds, QualityWarning

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle

ACTIVITY = f"{APP}/.BenchmarkActivity"
ANSWERS = f"/sdcard/Android/data/{APP}/files/answers"
"""In the app's folder of external files, which the app may write to and adb's user may read."""
REQUEST, ANSWER = "dsnet-app-request/2", "dsnet-app-answer/1"
MAX_REQUEST_BYTES = 60_000
"""In base64. adb takes a command of 65,535 bytes at most, and there is a script around the request."""
WARM_UP_RUNS = 5
"""Untimed runs at the start of each block: every block is a fresh process of the app."""
SECONDS_TO_START = 30.0
"""What `am` and the first look may take beyond the time that the app has for its answer."""
LOOKS_PER_SECOND = 5
"""A look costs the device two processes, `date` and `sleep`, while the app is being timed."""
LOOKS_WITHOUT_PROCESS = 15
"""After so many in a row the app has ended, or never started: the one before may still be ending when `am` returns."""
SHOWN_BYTES = 100
NO_PROCESS, NO_ANSWER = 93, 94
ASK = f"""answer="$3/$4" end=$(($(date +%s) + $6)) without=0 process=
said=$(am start -S -n "$2" -e request "$5" -e answer "$4" 2>&1)
until [ -f "$answer" ]; do
    [ -d "/proc/${{process:-none}}" ] || process=$(pidof -s "$1")
    if [ -n "$process" ]; then without=0; else without=$((without + 1)); fi
    if [ "$without" -gt {LOOKS_WITHOUT_PROCESS} ]; then echo "$said"; exit {NO_PROCESS}; fi
    if [ "$(date +%s)" -ge "$end" ]; then am force-stop "$1" >/dev/null 2>&1; exit {NO_ANSWER}; fi
    sleep {1 / LOOKS_PER_SECOND}
done
cat "$answer" || exit
rm -f "$answer" 2>/dev/null
true"""


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
        files = {
            role: {
                "path": place.store.ensure(bundle.verified_path(item)),
                "bytes": item.bytes,
                "sha256": item.sha256,
            }
            for role, item in app_files(bundle, artifact).items()
        }
        return AppWorkload(place, artifact, files, programs[0], threads)


class AppWorkload:
    """Programs of one artifact in the app."""

    takes_turns = False
    """Every block is a process of its own."""

    def __init__(
        self, place: Place, artifact: Artifact, files: Mapping[str, Mapping[str, Any]], canary: str, threads: int
    ) -> None:
        """`files` are a request's; `canary` is the program to run where only the canary is wanted."""
        self._place, self._artifact, self._canary = place, artifact, canary
        self._shared = {
            "format": REQUEST,
            "runtime": artifact.runtime,
            "files": files,
            "threads": threads,
            "policy": timed_policy(artifact).model_dump(),
            "warm_up_runs": WARM_UP_RUNS,
        }
        self._seen: set[tuple[str, ...]] = set()
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
        serial = self._place.adb.serial
        programs = [program.model_dump() for program in needed_programs(self._artifact, units)]
        request = json_line({**self._shared, "programs": programs, "units": list(units), "runs": runs})
        answer = parse_answer(self._answer(b64encode(request).decode()))
        if answer.error is not None:
            raise RuntimeUnavailableError(f"{serial}: the app: {one_line(answer.error)}")
        if len(answer.samples_ms) != runs or not answer.runtime_version:
            raise MeasurementError(f"the app answered {len(answer.samples_ms)} times instead of {runs}, or no version")
        return answer

    def _answer(self, request: str) -> bytes:
        """Return the bytes that the app leaves for a request."""
        if len(request) > MAX_REQUEST_BYTES:
            raise RuntimeUnavailableError(
                f"a request to the app of {len(request)} bytes, but adb passes on no more than {MAX_REQUEST_BYTES}; "
                "the manifest's entries of these programs are too long"
            )
        adb, answer_s = self._place.adb, self._place.answer_s
        arguments = [APP, ACTIVITY, ANSWERS, secrets.token_hex(16), request, str(ceil(answer_s))]
        done = adb.try_shell(["sh", "-c", ASK, "sh", *arguments], answer_s + SECONDS_TO_START)
        if done.status == NO_ANSWER:
            raise MeasurementError(f"{adb.serial}: no answer from the app for {answer_s:g} s; it was ended there")
        if done.status == NO_PROCESS:
            raise MeasurementError(
                f"{adb.serial}: the app ended without an answer, or did not start (adb logcat -b crash says why): "
                f"{one_line(done.text)}"
            )
        if done.status != 0:
            raise DeviceError(f"{adb.serial}: the app's answer cannot be read there: {one_line(done.text)}")
        return done.data


def app_files(bundle: "Bundle", artifact: Artifact) -> Mapping[str, Artifact | WeightsFile]:
    """Return the files that the app reads, by their roles in a request."""
    if artifact.runtime == "litert":
        return {"model": artifact}
    return {item.role: item for item in weights_files(bundle, artifact).values()}


def parse_answer(data: bytes) -> Answer:
    """Return the app's answer; a MeasurementError in one line, which shows what is none."""
    try:
        return parse_record(data, Answer, ANSWER, "the app's answer")
    except BundleError as error:
        shown = one_line(data[:SHOWN_BYTES].decode(errors="replace"))
        raise MeasurementError(f"{error}; it begins {shown!r}") from error
