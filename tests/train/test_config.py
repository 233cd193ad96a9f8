"""Configs are checked as a whole, and the published recipe is the default."""

from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from train import ConfigError
from train.config import (
    AugmentConfig,
    GateStageConfig,
    SupernetStageConfig,
    TrainConfig,
    config_for,
    config_names,
    load_config,
    overridden,
)
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


def test_the_config_of_ds_mbv1_is_the_published_recipe() -> None:
    recipe = config_for("ds_mbv1")
    supernet, gate, augment = recipe.supernet, recipe.gate, recipe.supernet.augment
    assert (supernet.epochs, supernet.batch_size, supernet.learning_rate, supernet.warmup_epochs) == (150, 512, 0.08, 5)
    assert (supernet.weight_decay, supernet.label_smoothing, supernet.ema_decay) == (1e-4, 0.1, 0.997)
    assert (supernet.objective, supernet.sampling, supernet.random_widths) == ("bootstrapping", "sandwich", 2)
    assert supernet.wide_teacher
    assert supernet.early_epochs == 0
    assert supernet.recalibration_batches == 1000
    assert (augment.randaugment, augment.randaugment_deviation, augment.erasing) == (9, 0.5, 0.2)
    assert (augment.colour, augment.crop, augment.flip) == (0.06, 0.08, True)
    assert (augment.rotation, augment.shift, augment.zoom) == (0, 0, 0)
    assert (gate.epochs, gate.learning_rate, gate.weight_decay) == (30, 0.08, 0.01)
    assert (gate.mac_unit, gate.mac_weight, gate.hard_rule) == (1e9, 1, "try best")


def test_what_costs_time_or_changes_the_recipe_is_off_unless_asked_for() -> None:
    recipe = TrainConfig()
    assert recipe.supernet.compile is False
    for stage in (recipe.supernet, recipe.gate):
        assert (stage.accumulate, stage.precision) == (1, "32-true")
    augment = AugmentConfig()
    assert (augment.crop, augment.colour, augment.randaugment, augment.erasing) == (1, 0, 0, 0)
    assert (recipe.supernet.early_epochs, recipe.supernet.early_resolution) == (0, None)


def test_the_new_fields_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "[supernet]\naccumulate = 4\nprecision = 'bf16-mixed'\ncompile = true\nobjective = 'labels'\nsampling = 'all'\n"
        "wide_teacher = false\nearly_epochs = 2\nearly_resolution = 16\n"
        "augment = { crop = 0.5, colour = 0.1, randaugment = 7, randaugment_deviation = 0.0, erasing = 0.3 }\n"
        "[gate]\ntarget_weight = 3.0\n"
    )
    assert load_config(path) == TrainConfig(
        SupernetStageConfig(
            accumulate=4,
            precision="bf16-mixed",
            compile=True,
            objective="labels",
            sampling="all",
            wide_teacher=False,
            early_epochs=2,
            early_resolution=16,
            augment=AugmentConfig(crop=0.5, colour=0.1, randaugment=7, randaugment_deviation=0, erasing=0.3),
        ),
        GateStageConfig(target_weight=3.0),
    )


def test_flags_replace_values_and_those_not_given_leave_them() -> None:
    config = config_for("ds_mbv1").supernet
    assert overridden(config, epochs=None, precision=None) == config
    assert overridden(config, epochs=3, precision="bf16-mixed", compile=None) == replace(
        config, epochs=3, precision="bf16-mixed"
    )
    assert isinstance(overridden(GateStageConfig(), epochs=1), GateStageConfig)


@pytest.mark.parametrize(
    ("flags", "fragments"),
    [
        ({"precision": "bf16"}, ("precision: ", "'32-true', 'bf16-mixed' or '16-mixed'")),
        ({"learning_rate": float("nan")}, ("learning_rate: ",)),
        ({"epochs": 0, "accumulate": 0}, ("epochs: ", "accumulate: ")),
        ({"objective": "teacher"}, ("objective: ", "'ensemble bootstrapping'", "'labels'")),
        ({"epoch": 3}, ("epoch: ",)),
    ],
)
def test_flags_are_checked_like_a_file(flags: dict[str, Any], fragments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        overridden(SupernetStageConfig(), **flags)
    assert "\n" not in str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value)


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
        ("[supernet]\nprecision = 'int8'\nsampling = 'some'\n", ("supernet.precision: ", "supernet.sampling: ")),
        ("[supernet]\nearly_resolution = 4\naccumulate = 0\n", ("early_resolution: ", "accumulate: ")),
        ("[supernet.augment]\ncrop = 0.0\nrandaugment = 30\nerasing = 1.1\n", ("crop: ", "randaugment: ", "erasing: ")),
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
