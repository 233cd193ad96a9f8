"""Hyper-parameters of both training stages: frozen, checked, read from TOML. Loads no torch.

The defaults are the published recipe for ImageNet (DS-Net, public code). configs/*.toml are named after the spec they
are for and say only what differs.
"""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from train.errors import ConfigError

HardRule = Literal["try best", "give up"]
"""Where the gate should send an image that the smallest network gets wrong: to the largest always ("try best"), or only
if that one gets it right ("give up")."""

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=STRICT)
class AugmentConfig:
    """Random changes of the training images, drawn per image."""

    flip: bool = True
    """Mirror half of the images; wrong for digits and text."""
    rotation: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation, in degrees either way."""
    shift: float = Field(default=0.1, ge=0, lt=1)
    """Largest shift along each axis, as a fraction of the side."""
    zoom: float = Field(default=0.2, ge=0, lt=1)
    """Largest change of scale, as a fraction either way."""


@dataclass(frozen=True, config=STRICT)
class SupernetStageConfig:
    """Stage I: all widths learn together by the sandwich rule."""

    epochs: int = Field(default=150, ge=1)
    """Passes over the training images."""
    batch_size: int = Field(default=512, ge=2)
    """Images per step."""
    learning_rate: float = Field(default=0.08, gt=0)
    """Peak rate of SGD; it follows a cosine to zero."""
    warmup_epochs: float = Field(default=5.0, ge=0)
    """Passes during which the rate climbs linearly from zero."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Nesterov momentum of SGD; 0 turns it off."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """L2 penalty on the weights of convolutions and the classifier; biases and batch norm are exempt."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Probability mass spread over all classes in the loss of the largest network."""
    ema_decay: float = Field(default=0.997, ge=0, lt=1)
    """Weight of the past, per step, in the moving average that teaches and that is saved."""
    ensemble: bool = False
    """Teach the smallest network by the mean of three teachers (IEB) rather than by the largest alone (IB)."""
    recalibration_batches: int = Field(default=1000, ge=1)
    """Most batches that the batch-norm statistics are measured on after training."""
    augment: AugmentConfig = Field(default_factory=AugmentConfig)


@dataclass(frozen=True, config=STRICT)
class GateStageConfig:
    """Stage II: only the gate learns; the supernet and its batch norm are frozen."""

    epochs: int = Field(default=30, ge=1)
    """Passes over the training images."""
    batch_size: int = Field(default=512, ge=1)
    """Images per step."""
    learning_rate: float = Field(default=0.08, gt=0)
    """Peak rate of SGD; it follows a cosine to zero."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Nesterov momentum of SGD; 0 turns it off."""
    weight_decay: float = Field(default=0.01, ge=0)
    """L2 penalty on the gate's weights."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature of the Gumbel-softmax; lower is closer to the one-hot choice, with noisier gradients."""
    hard_rule: HardRule = "try best"
    """The gate's label for images that the smallest network gets wrong."""
    mac_weight: float = Field(default=1.0, ge=0)
    """Factor on the penalty on multiply-accumulates."""
    mac_unit: float | None = Field(default=None, gt=0)
    """Multiply-accumulates that count as 1 in the penalty (published: 1e9); by default such that the widest choice
    costs what the widest published network does."""
    augment: AugmentConfig = Field(default_factory=AugmentConfig)


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """Both stages."""

    supernet: SupernetStageConfig = Field(default_factory=SupernetStageConfig)
    gate: GateStageConfig = Field(default_factory=GateStageConfig)


def config_names() -> list[str]:
    """Return the names of the specs that a tuned config ships for."""
    folder = resources.files("train") / "configs"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def config_for(spec_name: str) -> TrainConfig:
    """Return the config tuned for a shipped spec, or the published recipe for any other."""
    if spec_name not in config_names():
        return TrainConfig()
    return _parse((resources.files("train") / "configs" / f"{spec_name}.toml").read_text(), f"config {spec_name}")


def load_config(path: Path) -> TrainConfig:
    """Read a TOML file with tables [supernet] and [gate]; every problem in it is listed in one ConfigError."""
    if not path.is_file():
        raise ConfigError(
            f"no config at {path}; give a .toml file, or leave --config out for the one tuned for the spec"
        )
    return _parse(path.read_text(errors="replace"), str(path))


def _parse(text: str, origin: str) -> TrainConfig:
    try:
        return TypeAdapter(TrainConfig).validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin} is not TOML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        raise ConfigError(f"{origin}: {problems}; the fields are documented in train/config.py") from error
