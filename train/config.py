"""Hyper-parameters of both training stages: frozen, checked, read from TOML. Loads no torch.

The defaults are the published recipe for ImageNet (DS-Net, public code). configs/*.toml are named after the spec they
are for and say only what differs.
"""

import tomllib
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from train.errors import ConfigError

HardRule = Literal["try best", "give up"]
"""Where the gate should send an image that the smallest network gets wrong: to the largest always ("try best"), or only
if that one gets it right ("give up")."""

Objective = Literal["bootstrapping", "ensemble bootstrapping", "multi-view consistency", "distillation", "labels"]
"""What teaches the widths below the widest: the moving average of the network at its widest (IB, DS-Net), the mean of
three such averages for the smallest (IEB, DS-Net), the average at its widest on other random changes of the same images
(MvCo, DS-Net++, for transformers), the widest network as it is now (US-Net), or the labels."""

Sampling = Literal["sandwich", "all"]
"""Widths of a step: the largest, the smallest and random ones between (US-Net, DS-Net), or every one (S-Net)."""

OptimizerName = Literal["sgd", "adamw"]
"""SGD with Nesterov momentum, for convolutional networks; AdamW (Loshchilov & Hutter, ICLR 2019), for transformers."""

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Lightning's names. Mixed: convolutions in the short format, weights and batch-norm sums in float32."""

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=STRICT)
class AugmentConfig:
    """Random changes of the training images, drawn per image, in this order; what is off costs nothing."""

    crop: float = Field(default=1.0, gt=0, le=1)
    """Smallest share of the area that a random crop keeps, scaled back to the full size (published: 0.08); 1 is off."""
    flip: bool = True
    """Mirror half of the images; wrong for digits and text."""
    rotation: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation, in degrees either way."""
    shift: float = Field(default=0.1, ge=0, lt=1)
    """Largest shift along each axis, as a fraction of the side."""
    zoom: float = Field(default=0.2, ge=0, lt=1)
    """Largest change of scale, as a fraction either way."""
    colour: float = Field(default=0.0, ge=0, le=1)
    """Largest change of brightness, contrast and saturation, as a fraction either way (published: 0.06)."""
    randaugment: float = Field(default=0.0, ge=0, lt=30)
    """Magnitude of RandAugment, 0 (off) to 30 (published: 9); two operations for every group of images."""
    randaugment_deviation: float = Field(default=0.5, ge=0)
    """Standard deviation of that magnitude."""
    erasing: float = Field(default=0.0, ge=0, le=1)
    """Share of the images of which a random rectangle is erased (published: 0.2)."""


@dataclass(frozen=True, config=STRICT)
class StageConfig:
    """What both stages share."""

    epochs: int = Field(default=150, ge=1)
    """Passes over the training images."""
    batch_size: int = Field(default=512, ge=2)
    """Images per step, over all processes."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that each process runs one after the other per step, to need less memory; batch norm sees one part."""
    optimizer: OptimizerName = "sgd"
    """What turns gradients into steps."""
    learning_rate: float = Field(default=0.08, gt=0)
    """Peak rate of the optimiser (AdamW: about 1e-3); it follows a cosine to zero."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Passes during which the rate climbs linearly from zero, at most half of all."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Weight of the past, per step, in the mean of gradients: Nesterov momentum of SGD, where 0 turns it off; β₁ of
    AdamW."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Decay of the weights of convolutions and linear layers: SGD's L2 penalty; decoupled from the gradient in AdamW
    (DeiT: 0.05). Biases, normalisation and position embeddings are exempt."""
    precision: Precision = "32-true"
    """Number format of the convolutions."""
    decode_resolution: int | None = Field(default=None, ge=8)
    """Side in pixels that images are decoded to, by default the network's; crops gain from a few more, such as 256 for
    a network of 224."""
    hold_out: float = Field(default=0.05, ge=0, lt=1)
    """Share of the training images kept out of training, to measure accuracy on after every epoch."""
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    """Random changes of the images."""


@dataclass(frozen=True, config=STRICT)
class SupernetStageConfig(StageConfig):
    """Stage I: all widths learn together."""

    warmup_epochs: float = Field(default=5.0, ge=0)
    """Passes during which the rate climbs linearly from zero, at most half of all."""
    objective: Objective = "bootstrapping"
    """What teaches the widths below the widest."""
    sampling: Sampling = "sandwich"
    """Widths of a step."""
    random_widths: int = Field(default=2, ge=0)
    """Random widths of a sandwich."""
    wide_teacher: bool = True
    """Train the network whose early stages are wider than any width's too; it only teaches."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Probability mass spread over all classes in the loss against the labels."""
    ema_decay: float = Field(default=0.997, ge=0, lt=1)
    """Weight of the past, per step, in the moving average that teaches and that is saved."""
    compile: bool = False
    """Compile the network, one static graph per width: for GPUs; on the CPUs measured it does not pay."""
    early_epochs: int = Field(default=0, ge=0)
    """First passes that run on smaller images, to save time."""
    early_resolution: int | None = Field(default=None, ge=8)
    """Side of those images in pixels; by default half of the network's."""
    recalibration_batches: int = Field(default=1000, ge=1)
    """Most batches that the batch-norm statistics are measured on after training."""


@dataclass(frozen=True, config=STRICT)
class GateStageConfig(StageConfig):
    """Stage II: only the gate learns; the supernet and its batch norm are frozen."""

    epochs: int = Field(default=30, ge=1)
    """Passes over the training images."""
    weight_decay: float = Field(default=0.01, ge=0)
    """L2 penalty on the gate's weights."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature of the Gumbel-softmax; lower is closer to the one-hot choice, with noisier gradients."""
    hard_rule: HardRule = "try best"
    """The gate's label for images that the smallest network gets wrong."""
    sparsification_weight: float = Field(default=1.0, ge=0)
    """Factor on sandwich gate sparsification, SGS."""
    mac_weight: float = Field(default=1.0, ge=0)
    """Factor on the penalty on multiply-accumulates."""
    mac_unit: float | None = Field(default=None, gt=0)
    """Multiply-accumulates that count as 1 in the penalty (published: 1e9); by default such that the widest choice
    costs what the widest published network does."""
    target_weight: float = Field(default=300.0, ge=0)
    """Factor on the squared relative distance of the mean cost from its target, where a target is given. The other
    terms pull elsewhere: at 10, with these as published, a test's gate chose its cheapest width whatever the target."""


Stage = TypeVar("Stage", bound=StageConfig)


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """Both stages."""

    supernet: SupernetStageConfig = Field(default_factory=SupernetStageConfig)
    gate: GateStageConfig = Field(default_factory=GateStageConfig)


def overridden(config: Stage, **values: Any) -> Stage:
    """Return a stage's config with every value that is not None in place of its own, checked like a file's."""
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return TypeAdapter(type(config)).validate_python(asdict(config) | given)
    except ValidationError as error:
        raise ConfigError(f"{_problems(error)}; the fields are documented in train/config.py") from error


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
        raise ConfigError(f"{origin}: {_problems(error)}; the fields are documented in train/config.py") from error


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
