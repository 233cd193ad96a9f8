"""The real runtimes for the app's core: neither has a package for the JVM, so they answer over a socket.

A connection stands for a program. Each line is a JSON object: `tell` what this is, `load` a program from the bytes that
the app would give its runtime, `run` it. What a runtime refuses is the answer's `error`.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import numpy as np

from edge.bundle.manifest import Artifact, Program
from edge.errors import BundleError, EdgeError
from edge.runtime.litert_session import LiteRtSession, installed_litert
from edge.runtime.session import Array, named_program

HOST = "127.0.0.1"
Call = Callable[[Mapping[str, Array]], dict[str, Array]]


@dataclass
class RuntimeServer:
    """Where the runtime of one artifact answers, and what it was asked to load."""

    artifact: Artifact
    version: str
    port: int
    loaded: list[tuple[str, int]] = field(default_factory=list)
    """Programs, and with how many threads."""


@contextmanager
def runtime_server(artifact: Artifact) -> Iterator[RuntimeServer]:
    """Yield the runtime of an artifact; every program that it loads must be the manifest's."""
    with ThreadingTCPServer((HOST, 0), Conversation) as listening:
        listening.daemon_threads = True
        server = RuntimeServer(artifact, runtime_version(artifact), listening.server_address[1])
        listening.told = server  # type: ignore[attr-defined]
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


class Conversation(StreamRequestHandler):
    """One connection."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer until the app closes the connection."""
        self._server: RuntimeServer = self.server.told  # type: ignore[attr-defined]
        for line in self.rfile:
            try:
                answer = self._answer(json.loads(line))
            except EdgeError as error:
                answer = {"error": str(error)}
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    def _answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        match question["do"]:
            case "tell":
                return {"runtime": self._server.artifact.runtime, "version": self._server.version}
            case "load":
                self._program = named_program(self._server.artifact, question["program"])
                self._server.loaded.append((self._program.name, question["threads"]))
                load = load_litert if self._server.artifact.runtime == "litert" else load_executorch
                self._call = load(self._server.artifact, self._program, b64decode(question["file"]))
                return {}
            case "run":
                inputs = {
                    tensor.name: np.frombuffer(b64decode(question["inputs"][tensor.name]), tensor.dtype)
                    .reshape(tensor.shape)
                    .copy()
                    for tensor in self._program.inputs
                }
                outputs = self._call(inputs)
                return {"outputs": {name: b64encode(values.tobytes()).decode() for name, values in outputs.items()}}
        raise AssertionError(f"a question that nobody asks: {question['do']}")


def load_litert(artifact: Artifact, program: Program, content: bytes) -> Call:
    """Load what the file shows as it is: choosing the program's root was the app's work."""
    shown = int.from_bytes(content[:4], "little")
    if program.root_offset not in (None, shown):
        raise BundleError(f"the file shows the root at {shown}, but {program.name} is at {program.root_offset}")
    chosen = program.model_copy(update={"root_offset": None})
    session = LiteRtSession(content, artifact.model_copy(update={"programs": [chosen]}), [program.name])
    return lambda inputs: session.run(program.name, inputs)


def load_executorch(_: Artifact, program: Program, content: bytes) -> Call:
    """Load a plain file."""
    from edge.runtime.executorch_session import LoadedMethod

    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{program.name}.pte"
        path.write_bytes(content)
        return LoadedMethod(path, program).run


def runtime_version(artifact: Artifact) -> str:
    """Return the name and version of the runtime."""
    name = installed_litert() if artifact.runtime == "litert" else "executorch"
    assert name is not None
    return f"{name} {version(name)}"
