"""The commands leave a checkpoint that says how it came about, and explain what they refuse."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge import cli
from tests.train.networks import MICRO, coloured_images
from train.checkpoint import load_checkpoint

Run = Callable[..., tuple[int, str, str]]
QUICK = "[supernet]\nepochs = 1\nbatch_size = 6\n[gate]\nepochs = 1\nbatch_size = 6\n"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """Return a folder with micro.json, quick.toml and images/{train,test}."""
    from PIL import Image

    (tmp_path / "micro.json").write_text(MICRO.to_json())
    (tmp_path / "quick.toml").write_text(QUICK)
    images = coloured_images(18)
    for number, (pixels, label) in enumerate(images.images):
        for split in ("train", "test"):
            folder = tmp_path / "images" / split / images.classes[int(label)]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    return tmp_path


def test_init_writes_a_checkpoint_and_the_same_seed_the_same_file(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        status, out, err = run("init", "--spec", "ds_mbv1_tiny", "--seed", 5, "--out", tmp_path / f"{name}.safetensors")
        assert (status, err) == (0, "")
        assert "ds_mbv1_tiny, 4 widths" in out
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert load_checkpoint(tmp_path / "a.safetensors").provenance == {"command": "init", "seed": 5}


def test_both_stages_and_the_evaluation_run_one_after_the_other(run: Run, workplace: Path) -> None:
    supernet, gated, config = workplace / "s.safetensors", workplace / "g.safetensors", workplace / "quick.toml"
    data = ("--data", workplace / "images", "--threads", 1)
    status, _, err = run(
        "train", "supernet", "--spec", workplace / "micro.json", *data, "--config", config, "--out", supernet
    )
    assert status == 0, err
    status, out, err = run(
        "train", "gate", "--checkpoint", supernet, *data, "--config", config, "--out", gated, "--json"
    )
    assert status == 0, err
    first, second = load_checkpoint(supernet), load_checkpoint(gated)
    assert json.loads(out)["sha256"] == second.sha256
    assert second.provenance["parent_sha256"] == first.sha256
    assert second.provenance["parent_provenance"] == first.provenance
    assert second.provenance["classes"] == ["blue", "green", "red"]
    assert second.provenance["config"]["epochs"] == 1
    status, out, err = run("evaluate", gated, *data, "--json")
    result = json.loads(out)
    assert (status, result["images"], result["checkpoint_sha256"]) == (0, 18, second.sha256)
    assert [one["width"] for one in result["widths"]] == [0, 1, 2, 3, 4]
    status, out, err = run("evaluate", gated, *data, "--plot", workplace / "curve")
    assert status == 0, err
    assert "gate: top-1" in out
    assert (workplace / "curve.png").stat().st_size > 1000
    assert (workplace / "curve.svg").read_text().startswith("<?xml")


def test_a_killed_run_goes_on_when_the_same_command_is_given_again(
    run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.loop.SAVE_SECONDS", 0.0)
    words = ("train", "supernet", "--spec", workplace / "micro.json", "--data", workplace / "images", "--threads", 1)
    words = (*words, "--config", workplace / "quick.toml", "--epochs", 2, "--hold-out", 0.2)
    status, _, err = run(*words, "--out", workplace / "whole.safetensors")
    assert status == 0, err
    with monkeypatch.context() as failing:
        failing.setattr("train.cli.write_checkpoint", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*words, "--out", workplace / "killed.safetensors")[0] == 130
    status, _, err = run(*words, "--seed", 1, "--out", workplace / "killed.safetensors")
    assert (status, len(err.splitlines())) == (2, 1), err
    assert "other settings (seed differ)" in err
    status, _, err = run(*words, "--out", workplace / "killed.safetensors")
    assert status == 0, err
    assert "resuming" in err
    assert (workplace / "killed.safetensors").read_bytes() == (workplace / "whole.safetensors").read_bytes()
    assert not list(workplace.glob("*.run/state.safetensors")), "a finished run leaves no state"
    assert list(workplace.glob("killed.safetensors.run/events*")), "TensorBoard's log stays"


def test_a_run_does_not_resume_on_other_images(run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("train", "supernet", "--spec", workplace / "micro.json", "--threads", 1, "--config")
    words = (*words, workplace / "quick.toml", "--out", workplace / "x.safetensors", "--hold-out", 0)
    with monkeypatch.context() as failing:
        failing.setattr("train.cli.write_checkpoint", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*words, "--data", workplace / "images")[0] == 130
    (workplace / "images" / "train" / "red").rename(workplace / "images" / "train" / "crimson")
    status, _, err = run(*words, "--data", workplace / "images")
    assert (status, len(err.splitlines())) == (2, 1), err
    assert "other settings (images differ)" in err


def test_processes_that_would_train_one_by_one_are_refused(
    run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    words = ("train", "supernet", "--spec", workplace / "micro.json", "--data", workplace / "images")
    status, _, err = run(*words, "--out", workplace / "x.safetensors", "--devices", 2)
    assert (status, len(err.splitlines())) == (2, 1), err
    assert "4 processes were started, but --devices 2 and --nodes 1 make 2; give the processes per machine" in err
    monkeypatch.setenv("RANK", "1")
    assert run(*words, "--out", workplace / "x.safetensors") == (2, "", ""), "the first process speaks for all"


def test_curves_without_a_figure_are_refused(run: Run, workplace: Path) -> None:
    words = ("evaluate", "x.safetensors", "--data", workplace / "images", "--against", "b.json")
    status, _, err = run(*words)
    assert (status, len(err.splitlines())) == (2, 1), err
    assert "name the figure with --plot" in err


def test_damaged_images_are_counted_and_named_and_training_goes_on(run: Run, workplace: Path) -> None:
    (workplace / "images" / "train" / "red" / "empty.png").write_bytes(b"")
    words = ("train", "supernet", "--spec", workplace / "micro.json", "--data", workplace / "images", "--threads", 1)
    status, _, err = run(*words, "--config", workplace / "quick.toml", "--out", workplace / "x.safetensors", "--half")
    assert status == 0, err
    assert "1 of 19 images left out" in err
    assert "empty.png" in err
    assert load_checkpoint(workplace / "x.safetensors").provenance["data"]["images"] == 18


def test_a_gate_is_trained_for_a_budget(run: Run, workplace: Path) -> None:
    run("init", "--spec", workplace / "micro.json", "--out", workplace / "i.safetensors")
    words = ("train", "gate", "--checkpoint", workplace / "i.safetensors", "--data", workplace / "images")
    words = (*words, "--threads", 1, "--config", workplace / "quick.toml", "--out", workplace / "g.safetensors")
    status, _, err = run(*words, "--target-macs", 12_000)
    assert status == 0, err
    target = load_checkpoint(workplace / "g.safetensors").provenance["target"]
    assert (target["target"], target["unit"], len(target["costs"])) == (12_000, "MACs", 3)
    for wrong, fragment in [
        (("--target-macs", 1e9), "out of reach"),
        (("--target-ms", 3), "--target-ms and --latency go together"),
        (("--target-macs", 12_000, "--target-ms", 3), "not both"),
    ]:
        status, _, err = run(*words, *wrong)
        assert (status, len(err.splitlines())) == (2, 1), err
        assert fragment in err


def test_a_network_with_larger_kernels_begins_from_a_checkpoint_with_smaller_ones(run: Run, workplace: Path) -> None:
    large = replace(MICRO, name="large", stages=(MICRO.stages[0], *(replace(s, kernel=5) for s in MICRO.stages[1:])))
    (workplace / "large.json").write_text(large.to_json())
    run("init", "--spec", workplace / "micro.json", "--out", workplace / "i.safetensors")
    words = ("train", "supernet", "--data", workplace / "images", "--threads", 1, "--config", workplace / "quick.toml")
    words = (*words, "--out", workplace / "l.safetensors", "--checkpoint", workplace / "i.safetensors", "--spec")
    status, _, err = run(*words, workplace / "large.json")
    assert status == 0, err
    start, trained = load_checkpoint(workplace / "i.safetensors"), load_checkpoint(workplace / "l.safetensors")
    assert trained.spec == large
    found = [trained.provenance[name] for name in ("parent_sha256", "parent_spec", "parent_provenance")]
    assert found == [start.sha256, "micro", start.provenance]
    status, _, err = run(*words, "ds_mbv1_tiny")
    assert (status, len(err.splitlines())) == (2, 1), err
    assert "cannot begin as the checkpoint's 'micro': they differ in resolution, classes, stem, stages" in err


def test_a_network_without_a_gate_gets_a_side_gate(run: Run, workplace: Path) -> None:
    spec = replace(MICRO, gates=(), resolution=32, name="gateless")
    (workplace / "gateless.json").write_text(spec.to_json())
    run("init", "--spec", workplace / "gateless.json", "--out", workplace / "i.safetensors")
    words = ("train", "gate", "--checkpoint", workplace / "i.safetensors", "--data", workplace / "images")
    words = (*words, "--threads", 1, "--config", workplace / "quick.toml", "--out", workplace / "g.safetensors")
    status, _, err = run(*words, "--choices", "0,4")
    assert status == 0, err
    before, gated = load_checkpoint(workplace / "i.safetensors"), load_checkpoint(workplace / "g.safetensors")
    assert gated.spec.choices == ((0, 4),)
    assert gated.provenance["parent_sha256"] == before.sha256
    assert all((gated.tensors[name] == values).all() for name, values in before.tensors.items())
    status, out, err = run("evaluate", workplace / "g.safetensors", "--data", workplace / "images", "--threads", 1)
    assert status == 0, err
    assert "gate: top-1" in out
    again = (*words[:3], workplace / "g.safetensors", *words[4:], "--choices", "0,4")
    for wrong, fragment in [
        ((*words, "--choices", "0,9"), "a gate chooses between two or more of the widths 0…4, not 0, 9; change --choi"),
        ((*words, "--choices", "3"), "a gate chooses between two or more of the widths 0…4, not 3; change --choices"),
        ((*words, "--choices", "narrow"), "--choices 'narrow' is not a list of widths"),
        (again, "has gates of its own; --choices is for networks without one"),
    ]:
        status, _, err = run(*wrong)
        assert (status, len(err.splitlines())) == (2, 1), err
        assert fragment in err


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("init", "--spec", "ds_mbv9", "--out", "x.safetensors"), "valid: ds_mbv1, ds_mbv1_64, ds_mbv1_tiny"),
        (("train", "supernet", "--data", "d", "--out", "x.safetensors"), "there is nothing to train; give --spec"),
        (("train", "supernet", "--spec", "ds_mbv1_tiny", "--data", "absent", "--out", "x"), "no labelled images at"),
        (("train", "gate", "--checkpoint", "absent.safetensors", "--data", "d", "--out", "x"), "no checkpoint at"),
        (("evaluate", "absent.safetensors", "--data", "d"), "no checkpoint at"),
        (("train", "supernet", "--spec", "ds_mbv1_tiny", "--data", "d", "--out", "x", "--precision", "8"), "bf16"),
    ],
)  # fmt: skip
def test_what_is_refused_is_explained_in_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], fragment: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert fragment in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
