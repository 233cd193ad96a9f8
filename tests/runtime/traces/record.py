"""Record how a device slows down and recovers: `python -m tests.runtime.traces.record BUNDLE --phases idle,3@1,idle`.

The bundle's widths take turns, image after image, end to end, on one core. Phase by phase another process does nothing
but run: `3@1` ties it to core 1 with niceness 3, `idle` is no such process. On the measuring core the scheduler gives
it a known part of the time (niceness 0: half; 3: a third); on the other thread of the same physical core it takes its
part of the execution units. What a trace holds was measured: the other work of the machine is in it too. To keep that
away, as far as a virtual machine can, start the recorder in a session of its own that goes before the others:
`setsid -w bash -c 'echo -19 > /proc/self/autogroup; exec nice -n -19 python -m tests.runtime.traces.record …'`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import parse_widths
from edge.bundle.reader import open_bundle
from edge.devices.local import LocalDevice
from edge.runtime import DynamicSession, open_dynamic
from edge.runtime.policy import fixed

BUSY = """
import os, sys
niceness, core, parent = map(int, sys.argv[1:])
os.nice(niceness)
os.sched_setaffinity(0, {core})
while os.getppid() == parent:
    pass
"""
WARM_UP_ROUNDS = 5
PASSES = 4
"""Times that a width runs for one image, so that an image takes as long as on a phone, not as on a server."""


def record(
    sessions: Sequence[DynamicSession], image: np.ndarray, phases: Sequence[str], seconds: float
) -> list[list[float]]:
    """Return the milliseconds of every image, phase by phase; image i of a phase is answered by width i mod widths."""
    for session in sessions * WARM_UP_ROUNDS:
        session.answer(image)
    return [_phase(sessions, image, phase, seconds) for phase in phases]


def _phase(sessions: Sequence[DynamicSession], image: np.ndarray, phase: str, seconds: float) -> list[float]:
    load = None if phase == "idle" else [sys.executable, "-c", BUSY, *phase.split("@"), str(os.getpid())]
    process = subprocess.Popen(load) if load else None
    found: list[float] = []
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found += [_image_ms(session, image) for session in sessions]
    finally:
        if process:
            process.kill()
            process.wait()
    return found


def _image_ms(session: DynamicSession, image: np.ndarray) -> float:
    return round(sum(session.answer(image).total_ms for _ in range(PASSES)), 1)


def main() -> None:
    """Record one trace and write it."""
    parser = argparse.ArgumentParser(prog="python -m tests.runtime.traces.record")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--widths", default="all")
    parser.add_argument("--phases", default="idle,3@1,idle", help="idle, or NICENESS@CORE of a load")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of a phase")
    parser.add_argument("--note", required=True, help="circumstances, for the record")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    bundle = open_bundle(options.bundle)
    artifact = bundle.artifact()
    widths = parse_widths(options.widths) or [width.index for width in bundle.manifest.widths]
    sessions = [open_dynamic(bundle, artifact, fixed(width)) for width in widths]
    shape = next(tensor.shape for tensor in artifact.programs[0].inputs if tensor.name == "image")
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    phases = options.phases.split(",")
    times = record(sessions, image, phases, options.seconds)
    trace = {
        "recorded": f"{bundle.manifest.model.name} {artifact.runtime} {artifact.precision}, core {options.core}, "
        f"{options.seconds:g} s a phase, {time.strftime('%Y-%m-%d')}: {options.note}",
        "machine": LocalDevice().fingerprint(),
        "passes": PASSES,
        "widths": list(widths),
        "phases": [{"load": phase, "ms": ms} for phase, ms in zip(phases, times, strict=True)],
    }
    _write(options.out, trace)


def _write(path: Path, trace: dict[str, Any]) -> None:
    """Write the trace with one field, and one phase, per line."""
    fields = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in trace.items() if name != "phases"]
    phases = ",\n".join(map(json.dumps, trace["phases"]))
    path.write_text("{\n" + ",\n".join([*fields, f'"phases": [\n{phases}\n]']) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
