"""An ExecuTorch session holds the programs it is asked for, with the threads it is asked for."""

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge import BundleError
from edge.bundle.manifest import ThresholdPolicy
from edge.bundle.reader import Bundle, open_bundle
from edge.errors import RuntimeUnavailableError
from edge.runtime import open_dynamic, open_session

IMAGE = np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)


def test_only_the_programs_asked_for_are_resident(executorch_bundle: Bundle) -> None:
    session = open_session(executorch_bundle, executorch_bundle.artifact("executorch", "fp32"), ["prefix"])
    assert session.programs == ("prefix",)
    assert session.runtime_version == "executorch 1.5.1"
    with pytest.raises(BundleError, match="program tail_00 is not resident; this session opened prefix"):
        session.run("tail_00", {"features": IMAGE})


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", np.float32), ("int8", np.int8)])
def test_outputs_have_the_manifests_names_and_types_and_are_the_callers_own(
    executorch_bundle: Bundle, precision: str, dtype: type
) -> None:
    artifact = executorch_bundle.artifact("executorch", precision)
    session = open_session(executorch_bundle, artifact, ["prefix", "tail_03"])
    first = session.run("prefix", {"image": IMAGE})
    assert first["features"].dtype == dtype
    kept = {name: values.copy() for name, values in first.items()}
    session.run("prefix", {"image": -IMAGE})
    assert all(np.array_equal(first[name], kept[name]) for name in kept), "a later run changed an earlier answer"
    (logits,) = session.run("tail_03", {"features": first["features"]}).values()
    assert logits.shape == (1, 10)
    assert logits.dtype == np.float32


def test_inputs_that_do_not_fit_are_refused_in_one_line(executorch_bundle: Bundle) -> None:
    session = open_session(executorch_bundle, executorch_bundle.artifact("executorch", "int8"), ["prefix"])
    with pytest.raises(BundleError, match="image of prefix must be float32"):
        session.run("prefix", {"image": IMAGE.astype(np.float64)})


def test_sessions_of_one_process_share_one_number_of_threads(executorch_bundle: Bundle) -> None:
    from executorch.extension.pybindings import portable_lib

    artifact = executorch_bundle.artifact("executorch", "fp32")
    gc.collect()
    session = open_session(executorch_bundle, artifact, ["prefix"], threads=2)
    assert portable_lib._threadpool_get_thread_count() == 2
    expected = session.run("prefix", {"image": IMAGE})["features"]
    with pytest.raises(RuntimeUnavailableError, match=r"with 2 thread\(s\) is open in this process") as refused:
        open_session(executorch_bundle, artifact, ["prefix"], threads=1)
    assert "\n" not in str(refused.value)
    del session
    gc.collect()
    alone = open_session(executorch_bundle, artifact, ["prefix"], threads=1)
    assert portable_lib._threadpool_get_thread_count() == 1
    assert np.array_equal(alone.run("prefix", {"image": IMAGE})["features"], expected)


def test_images_are_routed_by_thresholds(executorch_bundle: Bundle) -> None:
    artifact = executorch_bundle.artifact("executorch", "fp32")
    used = {
        open_dynamic(executorch_bundle, artifact, ThresholdPolicy(widths=[0, 3], thresholds=[threshold]))
        .answer(IMAGE)
        .width
        for threshold in (-1.0, 100.0)
    }
    assert used == {0, 3}


def test_weights_that_were_changed_are_refused(executorch_bundle: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(executorch_bundle.root, tmp_path / "bundle"))
    path = copy / "executorch" / "weights.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    changed = open_bundle(copy)
    with pytest.raises(BundleError, match=r"weights.bin: its SHA-256 starts with"):
        open_session(changed, changed.artifact("executorch", "fp32"), ["prefix"])
