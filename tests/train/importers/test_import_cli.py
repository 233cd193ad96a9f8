"""`dsnet import` writes one of our checkpoints, which says where it came from."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from common import sha256_file
from edge import cli
from tests.train.importers.published import published_state, random_tensors, small_spec
from train.checkpoint import load_checkpoint

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["import", *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Return a small DS-Net as its authors save one."""
    states = {name: published_state("slimmable_mbnet_v1_bn_uniform", seed) for seed, name in enumerate(("raw", "ema"))}
    path = tmp_path / "net.pth.tar"
    said = {"epoch": 149, "arch": "slimmable_mbnet_v1_bn_uniform", "args": argparse.Namespace(lr=0.08), "version": 2}
    torch.save({**said, "state_dict": states["raw"], "state_dict_ema": states["ema"]}, path)
    return path


def test_a_published_checkpoint_becomes_one_of_ours(run: Run, published: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    status, said, err = run(published, "--out", out)
    assert (status, err) == (0, "")
    assert f"{out}: ds_mbv1, 5 widths" in said
    loaded = load_checkpoint(out)
    assert loaded.spec == small_spec("slimmable_mbnet_v1_bn_uniform")
    assert loaded.provenance == {
        "command": "import",
        "architecture": "slimmable_mbnet_v1_bn_uniform",
        "source": {"name": "net.pth.tar", "sha256": sha256_file(published)},
        "ema": False,
        "said": {"epoch": 149, "arch": "slimmable_mbnet_v1_bn_uniform", "args": {"lr": 0.08}, "version": 2},
    }


def test_the_averaged_weights_a_name_a_resolution_and_half_precision(run: Run, published: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    words = ("--ema", "--name", "mine", "--resolution", 64, "--half", "--json", "--out", out)
    status, said, err = run(published, "--arch", "slimmable_mbnet_v1_bn_uniform", *words)
    assert (status, err) == (0, "")
    loaded = load_checkpoint(out)
    assert (loaded.spec.name, loaded.spec.resolution, loaded.provenance["ema"]) == ("mine", 64, True)
    result = json.loads(said)
    assert (result["sha256"], result["spec"], result["provenance"]) == (loaded.sha256, "mine", loaded.provenance)
    expected = random_tensors(small_spec("slimmable_mbnet_v1_bn_uniform"), seed=1)["classifier.weight"]
    assert abs(loaded.tensors["classifier.weight"] - expected).max() < 2**-9, "float16 keeps 11 bits of values below 4"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--arch", "resnet50"), "unknown --arch 'resnet50'; valid: slimmable_mbnet_v1_bn_uniform"),
        (("--arch", "us_mobilenet_v1"), "is not of architecture us_mobilenet_v1: missing: features.0.0.weight"),
        (("--name", "a b"), "the name needs 1…64 letters"),
        (("--resolution", "1"), "resolution 1 is not within"),
    ],
)
def test_mistakes_cost_one_line(run: Run, published: Path, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    status, out, err = run(published, *words, "--out", tmp_path / "x.safetensors")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert told in err
    assert not (tmp_path / "x.safetensors").exists()
