"""Talking to the runner, and the commands that load a bundle's programs."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import Program
from edge.bundle.nested.weights import open_nested_weights, weights_files
from edge.bundle.reader import Bundle

Command = Sequence[str]
SECONDS = 60


@dataclass(frozen=True)
class Conversation:
    """What the runner said to a list of commands, and how it ended."""

    answers: list[dict[str, Any]]
    status: int
    stderr: str

    @property
    def error(self) -> str:
        """Return the error that it ended with; fails unless that is its last answer, with nothing on stderr."""
        assert (self.status, self.stderr) == (2, ""), self
        assert [list(answer) for answer in self.answers if "error" in answer] == [["error"]], self
        return str(self.answers[-1]["error"])


def converse(runner: Command, commands: Sequence[Mapping[str, Any] | str], *options: str) -> Conversation:
    """Send all commands (text as it is) and return everything that came back, every line of it JSON."""
    lines = "".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in commands)
    done = subprocess.run([*runner, *options], input=lines.encode(), capture_output=True, timeout=SECONDS)
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    return Conversation(answers, done.returncode, done.stderr.decode(errors="replace"))


def answers(runner: Command, commands: Sequence[Mapping[str, Any]], *options: str) -> list[dict[str, Any]]:
    """Return one answer per command; fails unless all of them were answered."""
    said = converse(runner, commands, *options)
    assert (said.status, said.stderr) == (0, ""), said
    return said.answers


def load(bundle: Bundle, name: str, precision: str = "fp32", **changes: Any) -> dict[str, Any]:
    """Return the command that loads a program with slices of the bundle's store."""
    artifact = bundle.artifact("executorch", precision)
    files = weights_files(bundle, artifact)
    paths = {role: str(bundle.verified_path(files[role])) for role in ("store", "recipe")}
    return {**_unit(bundle, name, precision), "pte": str(bundle.verified_path(artifact)), **paths, **changes}


def load_plain(bundle: Bundle, name: str, folder: Path, precision: str = "fp32") -> dict[str, Any]:
    """Return the command that loads the plain file of a program, as the stock exporter wrote it, as `plain_NAME`."""
    weights = open_nested_weights(bundle, bundle.artifact("executorch", precision))
    path = folder / f"{precision}_{name}.pte"
    path.write_bytes(weights.file(f"{name}.pte"))
    return {**_unit(bundle, name, precision), "unit": f"plain_{name}", "pte": str(path)}


def program(bundle: Bundle, name: str, precision: str = "fp32") -> Program:
    """Return a program's entry in the manifest."""
    return next(item for item in bundle.artifact("executorch", precision).programs if item.name == name)


def _unit(bundle: Bundle, name: str, precision: str) -> dict[str, Any]:
    entry = program(bundle, name, precision)
    return {"do": "load", "unit": name, "role": entry.role, "widths": entry.widths, "method": name}


def images(bundle: Bundle, count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return preprocessed images of noise, [count, 3, size, size]."""
    side = bundle.manifest.model.input_size
    return np.random.default_rng(seed).standard_normal((count, 3, side, side), np.float32)
