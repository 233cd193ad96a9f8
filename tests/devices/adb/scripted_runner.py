"""A runner with made-up times, for the device: it can hang, die and babble. PROGRAMS is written above it."""

import json
import os
import signal
import sys
import time
from pathlib import Path

COST_MS = {"prefix": 1.0, "tail_00": 2.0, "tail_01": 3.0}
MODE = Path("/data/local/tmp/mode")


def mode():
    return MODE.read_text().strip() if MODE.exists() else ""


def slowdown():
    return float(Path(os.environ["EMULATOR"], "canary_slowdown").read_text())


def answer(command):
    kind = command["do"]
    if kind == "load":
        for name in ("pte", "store", "recipe"):
            Path(command[name]).stat()
        return {"loaded": command["unit"], **PROGRAMS[command["unit"]]}  # noqa: F821
    if kind == "block":
        cost = sum(COST_MS[unit] for unit in command["units"]) * slowdown()
        return {"samples_ms": [cost] * command["runs"]}
    return {"canary_ms": slowdown()}


def misbehave(what):
    if what == "hang":
        time.sleep(3600)
    if what == "die":
        sys.stderr.write("out of luck\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "garbage":
        print("\x1b[31mnot json")
    if what == "truncate":
        sys.stdout.write('{"samples_ms": [1.0, 2')
        sys.stdout.flush()
        os._exit(3)
    if what == "refuse":
        print(json.dumps({"error": "no such method"}))
        sys.exit(2)


def main():
    if "--version" in sys.argv:
        print("dsnet-runner 1.0.0, executorch 1.5.1")
        return
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "block":
            misbehave(mode())
        print(json.dumps(answer(command)), flush=True)


main()
