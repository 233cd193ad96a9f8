import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle import open_bundle
from edge.errors import BundleError, RuntimeUnavailableError
from edge.runtime import available_runtimes, litert_session, open_session
from tests.runtime import golden


def test_a_litert_artifact_opens_here() -> None:
    assert "litert" in available_runtimes()
    assert open_session(golden.bundle(), golden.artifact(), ["tail_00"]).programs == ("tail_00",)


def test_a_runtime_that_is_not_here_is_refused_with_those_that_are() -> None:
    elsewhere = golden.artifact().model_copy(update={"runtime": "coreml"})
    with pytest.raises(RuntimeUnavailableError, match="coreml is not available on this machine; available: litert"):
        open_session(golden.bundle(), elsewhere, ["prefix"])


def installed(*packages: str) -> Callable[[str], object]:
    """A machine on which only these packages are installed."""
    return lambda package: package if package in packages else None


def test_tflite_runtime_serves_where_ai_edge_litert_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert_session, "find_spec", installed("ai_edge_litert", "tflite_runtime"))
    assert litert_session.installed_litert() == "ai-edge-litert"
    monkeypatch.setattr(litert_session, "find_spec", installed("tflite_runtime"))
    assert litert_session.installed_litert() == "tflite-runtime"


def test_a_machine_without_any_runtime_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert_session, "find_spec", installed())
    monkeypatch.setattr(sys.modules["edge.runtime.open_session"], "find_spec", installed())
    assert available_runtimes() == ()
    with pytest.raises(RuntimeUnavailableError, match="pip install ai-edge-litert"):
        open_session(golden.bundle(), golden.artifact(), ["prefix"])


def test_an_altered_file_is_not_run(tmp_path: Path) -> None:
    copy = shutil.copytree(golden.FOLDER, tmp_path / "bundle")
    file = copy / golden.artifact().file
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    bundle = open_bundle(copy)
    with pytest.raises(BundleError, match="SHA-256"):
        open_session(bundle, bundle.artifact(), ["prefix"])
