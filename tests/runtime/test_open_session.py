import shutil
from pathlib import Path

import pytest

from edge.bundle import open_bundle
from edge.errors import BundleError, RuntimeUnavailableError
from edge.runtime import available_runtimes, open_session
from tests.runtime import golden


def test_a_litert_artifact_opens_here() -> None:
    assert "litert" in available_runtimes()
    assert open_session(golden.bundle(), golden.artifact(), ["tail_00"]).programs == ("tail_00",)


def test_a_runtime_that_is_not_here_is_refused_with_those_that_are() -> None:
    elsewhere = golden.artifact().model_copy(update={"runtime": "coreml"})
    with pytest.raises(RuntimeUnavailableError, match="coreml is not available on this machine; available: litert"):
        open_session(golden.bundle(), elsewhere, ["prefix"])


def test_an_altered_file_is_not_run(tmp_path: Path) -> None:
    copy = shutil.copytree(golden.FOLDER, tmp_path / "bundle")
    file = copy / golden.artifact().file
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    bundle = open_bundle(copy)
    with pytest.raises(BundleError, match="SHA-256"):
        open_session(bundle, bundle.artifact(), ["prefix"])
