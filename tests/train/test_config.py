"""Configs are checked as a whole, and the published recipe is the default."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from train import ConfigError
from train.config import TrainConfig, config_for, config_names, load_config
from train.spec import spec_names


def test_every_shipped_config_is_named_after_a_spec_and_valid() -> None:
    assert "ds_mbv1_tiny" in config_names()
    for name in config_names():
        assert name in spec_names()
        assert config_for(name) != TrainConfig()


def test_a_spec_without_a_config_gets_the_published_recipe() -> None:
    recipe = config_for("anything")
    supernet, gate = recipe.supernet, recipe.gate
    assert (supernet.epochs, supernet.batch_size, supernet.learning_rate, supernet.warmup_epochs) == (150, 512, 0.08, 5)
    assert (supernet.weight_decay, supernet.label_smoothing, supernet.ema_decay) == (1e-4, 0.1, 0.997)
    assert (supernet.objective, supernet.sampling, supernet.random_widths) == ("bootstrapping", "sandwich", 2)
    assert (gate.epochs, gate.learning_rate, gate.weight_decay, gate.hard_rule) == (30, 0.08, 0.01, "try best")


def test_digits_are_not_mirrored() -> None:
    config = config_for("ds_mbv1_tiny")
    assert not config.supernet.augment.flip
    assert not config.gate.augment.flip


def test_a_file_says_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[supernet]\nepochs = 3\n[supernet.augment]\nrotation = 5\n")
    config = load_config(path)
    assert config.supernet.epochs == 3
    assert config.supernet.augment.rotation == 5
    assert config.gate == TrainConfig().gate
    with pytest.raises(FrozenInstanceError):
        config.supernet.epochs = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("[supernet]\nepochs = 0\nepoch = 3\n", ("supernet.epochs: ", "supernet.epoch: ")),
        ("[gate]\nhard_rule = 'try hard'\n", ("gate.hard_rule", "'try best' or 'give up'")),
        ("[gate]\ntemperature = nan\n", ("gate.temperature",)),
        ("[gates]\n", ("gates",)),
        ("[supernet\n", ("is not TOML",)),
    ],
)
def test_problems_are_reported_together_in_one_line(tmp_path: Path, text: str, fragments: tuple[str, ...]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert "\n" not in str(error.value)
    for fragment in fragments:
        assert fragment in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no config at"):
        load_config(tmp_path / "absent.toml")
