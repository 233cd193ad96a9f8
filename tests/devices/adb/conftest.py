"""Emulated phones that the real adb is connected to, and a runner of a few lines that speaks the native protocol."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle, open_bundle
from edge.devices.adb.client import Adb
from edge.devices.adb.runners.native import variable
from tests.emulator import Emulator
from tests.emulator.fixtures import Adb as RealAdb
from tests.emulator.fixtures import adb, emulator
from tests.native.data import NETWORKS

__all__ = ["adb", "emulator"]

SCRIPT = Path(__file__).with_name("scripted_runner.py")
MODE = "/data/local/tmp/mode"
"""What the scripted runner is to do wrong; it reads this file before every answer."""


@dataclass(frozen=True)
class Phone:
    """An emulated device, and the product's view of it."""

    emulator: Emulator
    adb: Adb

    @property
    def serial(self) -> str:
        """Return its serial."""
        return self.adb.serial

    def misbehave(self, mode: str) -> None:
        """Have the scripted runner do something wrong from now on."""
        self.emulator.path(MODE).write_text(mode)


@pytest.fixture
def phone(
    adb: RealAdb, emulator: Callable[..., Emulator], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Phone]:
    """Return what starts a phone and connects the real adb, with this process's environment, to it."""
    for name, value in {**adb.environment, "ADB": adb.path, "XDG_STATE_HOME": str(tmp_path / "state")}.items():
        monkeypatch.setenv(name, value)

    def start(**fields: Any) -> Phone:
        device = emulator(**fields)
        return Phone(device, Adb(adb.connect(device)))

    return start


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """Return a small ExecuTorch bundle."""
    return open_bundle(NETWORKS / "first")


@pytest.fixture(scope="session")
def artifact(bundle: Bundle) -> Artifact:
    """Return its float artifact."""
    return bundle.artifact("executorch", "fp32")


@pytest.fixture
def scripted_runner(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the scripted runner, which the product takes for the one built for x86_64."""
    tensors = {
        program.name: {
            kind: [{"dtype": tensor.dtype, "shape": tensor.shape} for tensor in getattr(program, kind)]
            for kind in ("inputs", "outputs")
        }
        for program in artifact.programs
    }
    path = tmp_path / "dsnet-runner"
    path.write_text(f"#!{sys.executable} -IS\nPROGRAMS = {json.dumps(tensors)}\n{SCRIPT.read_text()}")
    path.chmod(0o755)
    monkeypatch.setenv(variable("x86_64"), str(path))
    return path
