"""The state of a run: written whole, read back bit for bit, refused in one line when it is not the one expected."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from common import DsnetError
from train import TrainError
from train.run_folder import FORMAT, RunFolder, State

SETTINGS = {"seed": 3, "epochs": 4, "precision": "32-true"}


def tensors() -> dict[str, Tensor]:
    """Return one tensor of every kind that training carries, with values that rounding would change."""
    return {
        "model.stem.weight": torch.rand(4, 3, 3, 3) / 3,
        "momentum.stem.weight": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
        "model.half": torch.rand(5).bfloat16(),
        "average.steps": torch.tensor(7),
    }


def saved(folder: Path, step: int = 5) -> RunFolder:
    run = RunFolder(folder, SETTINGS)
    run.save(State(step, tensors()))
    return run


def refusal(run: RunFolder) -> str:
    with pytest.raises(TrainError) as caught:
        run.load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_state(run: RunFolder, record: Any, kind: str = FORMAT) -> None:
    run.root.mkdir(parents=True, exist_ok=True)
    save_file({"weight": torch.zeros(2)}, run.state_file, {"format": kind, "run": json.dumps(record)})


def test_a_new_folder_has_no_state(tmp_path: Path) -> None:
    assert RunFolder(tmp_path / "run", SETTINGS).load() is None


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    given = tensors()
    RunFolder(tmp_path / "new" / "run", SETTINGS).save(State(5, given))
    found = RunFolder(tmp_path / "new" / "run", SETTINGS).load()
    assert found is not None
    assert found.step == 5
    assert found.tensors.keys() == given.keys()
    for name, tensor in given.items():
        read = found.tensors[name]
        assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(read.reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8)), name


def test_settings_are_equal_however_python_spells_them(tmp_path: Path) -> None:
    RunFolder(tmp_path, {"widths": (0, 1)}).save(State(1, tensors()))
    assert RunFolder(tmp_path, {"widths": [0, 1]}).load() is not None


def test_the_state_is_a_safetensors_file_and_holds_no_pickle(tmp_path: Path) -> None:
    run = saved(tmp_path)
    with safetensors.safe_open(run.state_file, "np") as file:
        assert "model.stem.weight" in set(file.keys())
        assert file.metadata()["format"] == FORMAT
    assert [path.name for path in tmp_path.iterdir()] == [run.state_file.name]


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_state_is_one_line_that_names_the_file(tmp_path: Path, kept: int) -> None:
    run = saved(tmp_path)
    run.state_file.write_bytes(run.state_file.read_bytes()[:kept])
    assert f"{run.state_file} is no training state; delete it" in refusal(run)


@pytest.mark.parametrize("content", [b"\xff" * 64, b"\x80\x04]q\x00.", b"{}"])
def test_garbage_is_one_line_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    run = RunFolder(tmp_path, SETTINGS)
    run.state_file.write_bytes(content)
    assert f"{run.state_file} is no training state" in refusal(run)


def test_a_safetensors_file_of_something_else_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, SETTINGS)
    save_file({"weight": torch.zeros(2)}, run.state_file)
    assert f"{run.state_file} is no training state" in refusal(run)


@pytest.mark.parametrize(
    "record",
    [
        7,
        [],
        {},
        {"step": 1},
        {"settings": SETTINGS},
        {"settings": list(SETTINGS), "step": 1},
        {"settings": SETTINGS, "step": "five"},
        {"settings": SETTINGS, "step": None},
    ],
)
def test_a_record_that_does_not_hold_together_is_one_line_that_names_the_file(tmp_path: Path, record: Any) -> None:
    run = RunFolder(tmp_path, SETTINGS)
    write_state(run, record)
    assert f"{run.state_file} is no training state" in refusal(run)


def test_another_format_is_refused_by_name(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, SETTINGS)
    write_state(run, {"settings": SETTINGS, "step": 1}, "dsnet-training/2")
    assert "'dsnet-training/2', this version resumes 'dsnet-training/1'" in refusal(run)


def test_settings_that_differ_are_named(tmp_path: Path) -> None:
    saved(tmp_path)
    other = RunFolder(tmp_path, {"seed": 3, "epochs": 9, "precision": "bf16-mixed", "accumulate": 2})
    assert "(accumulate, epochs, precision differ)" in refusal(other)


def test_a_disk_that_fills_up_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = saved(tmp_path, step=5)
    before = run.state_file.read_bytes()

    def fill_up(_: dict[str, Tensor], path: Path, __: dict[str, str]) -> None:
        path.write_bytes(before[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("train.run_folder.save_file", fill_up)
    with pytest.raises(DsnetError, match="cannot be written") as caught:
        run.save(State(6, tensors()))
    assert str(run.state_file) in str(caught.value)
    assert run.state_file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [run.state_file.name]


def test_a_newer_state_replaces_the_old_one(tmp_path: Path) -> None:
    saved(tmp_path, step=5)
    found = saved(tmp_path, step=6).load()
    assert found is not None
    assert found.step == 6


def test_finishing_deletes_the_state_and_only_that(tmp_path: Path) -> None:
    run = saved(tmp_path)
    (tmp_path / "events.out.tfevents.1").touch()
    run.finish()
    run.finish()
    assert run.load() is None
    assert [path.name for path in tmp_path.iterdir()] == ["events.out.tfevents.1"]
