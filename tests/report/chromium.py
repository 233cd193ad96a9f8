"""Headless Chromium over a pipe, by the DevTools protocol: what a page asks for, complains of and looks like."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
READS, WRITES = 3, 4
"""Descriptors of --remote-debugging-pipe: Chromium reads commands from the one and writes answers to the other."""
ABOVE = 10
SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
"""Without the sandbox, as CI runs as root; the pages are our own."""


def find_chromium() -> str | None:
    """Return the program's path, or None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@dataclass
class Visit:
    """What happened while a page was loaded."""

    requests: list[str] = field(default_factory=list)
    """Addresses asked for, that of the page first; what lies inside the page (data:) is none."""
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, violated policies and uncaught exceptions."""


class Chromium:
    """One page of a running browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._unread = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._call(f"{domain}.enable")

    def close(self) -> None:
        """Close the pipes, which ends the browser."""
        os.close(self._commands)
        os.close(self._answers)

    def look(self, width: int, theme: str = "light") -> None:
        """Be a screen `width` CSS pixels wide whose reader prefers `theme`."""
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **metrics)
        preference = {"name": "prefers-color-scheme", "value": theme}
        self._call("Emulation.setEmulatedMedia", features=[preference])

    def visit(self, page: Path) -> Visit:
        """Load a page and return what it asked for and complained of."""
        self._events.clear()
        self._call("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(self._read())
        self.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        visit = Visit()
        for event in self._events:
            _note(visit, event["method"], event["params"])
        return visit

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited."""
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """Return a PNG of the whole page."""
        answer = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            arrived = os.read(self._answers, 1 << 20)
            assert arrived, "Chromium has ended"
            self._unread += arrived
        message, _, self._unread = self._unread.partition(b"\0")
        read: dict[str, Any] = json.loads(message)
        return read


def _note(visit: Visit, method: str, params: dict[str, Any]) -> None:
    if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
        visit.requests.append(params["request"]["url"])
    elif method == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
        visit.complaints.append(params["entry"]["text"])
    elif method == "Runtime.consoleAPICalled":
        visit.complaints.append(str([argument.get("value") for argument in params["args"]]))
    elif method == "Runtime.exceptionThrown":
        visit.complaints.append(params["exceptionDetails"]["text"])


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Chromium]:
    """Start Chromium with a profile folder of its own and end it after the block."""
    (their_commands, commands), (answers, their_answers) = _pipe(), _pipe()

    def wire() -> None:
        os.dup2(their_commands, READS)
        os.dup2(their_answers, WRITES)

    process = subprocess.Popen(
        [program, *SWITCHES, "--remote-debugging-pipe", f"--user-data-dir={profile}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=wire,
    )
    os.close(their_commands)
    os.close(their_answers)
    browser = Chromium(commands, answers)
    try:
        yield browser
    finally:
        browser.close()
        process.terminate()
        process.wait(10)


def _pipe() -> tuple[int, int]:
    """Return a pipe's ends, with numbers that those Chromium expects cannot collide with."""
    low = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, ABOVE) for end in low]
    for end in low:
        os.close(end)
    return high[0], high[1]
