"""The bundle's contract: `manifest.json`, schema "dsnet-bundle/1". `MAX_…` bounds are checked before allocation.

Readers accept unknown fields of the same major version and refuse a higher major version by name.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

FORMAT = "dsnet-bundle/1"
MAX_WIDTHS, MAX_CLASSES, MAX_INPUT_SIZE, MAX_ELEMENTS = 256, 100_000, 2048, 1 << 28
MAX_CHANNELS, MAX_LAYERS = 16384, 1024

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Runtime = Literal["litert", "executorch", "coreml"]
Precision = Annotated[str, Field(pattern=r"^[a-z0-9]{2,8}$")]
Role = Literal["prefix", "tail", "gate", "net"]


class Record(BaseModel):
    """Base of every record: unknown fields are accepted and kept, values are not coerced from strings."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class TensorInfo(Record):
    """One input or output of a program. Quantized tensors give real = `scale`·(q − `zero_point`)."""

    name: str
    shape: list[Annotated[int, Field(ge=1, le=MAX_ELEMENTS)]] = Field(min_length=1, max_length=8)
    dtype: Literal["float32", "int8"]
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    zero_point: Annotated[int, Field(ge=-128, le=127)] | None = None

    @field_validator("shape")
    @classmethod
    def _bounded(cls, shape: list[int]) -> list[int]:
        if math.prod(shape) > MAX_ELEMENTS:
            raise ValueError(f"shape {shape} has {math.prod(shape)} elements; the limit is {MAX_ELEMENTS}")
        return shape


class Program(Record):
    """One callable unit of an artifact: a LiteRT signature, an ExecuTorch method, a Core ML function."""

    name: str = Field(pattern=r"^(prefix|gate|(tail|net)_[0-9]{2,3})$")
    role: Role
    width: Annotated[int, Field(ge=0, lt=MAX_WIDTHS)] | None = None
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    root_offset: Annotated[int, Field(ge=4)] | None = None
    """LiteRT: put this number, little-endian, into the file's first 4 bytes and the runtime sees this program alone."""

    @model_validator(mode="after")
    def _role_fits_name(self) -> "Program":
        expected = self.role if self.width is None else f"{self.role}_{self.width:02d}"
        if self.name != expected or (self.width is None) != (self.role in ("prefix", "gate")):
            raise ValueError(f"program {self.name!r} does not fit role {self.role!r} and width {self.width}")
        return self


class Parity(Record):
    """What `convert` compared for one program, and what it found."""

    program: str
    max_abs_difference: Finite
    """Largest absolute difference of any output between the nested artifact and plain models of the same integers."""
    images: Annotated[int, Field(ge=1)]


class Accuracy(Record):
    """Top-1 of one width on the conversion's check images: in float (the supernet's slice) and as converted."""

    width: Annotated[int, Field(ge=0, lt=MAX_WIDTHS)]
    images: Annotated[int, Field(ge=1)]
    float_top1: Annotated[float, Field(ge=0, le=1)]
    artifact_top1: Annotated[float, Field(ge=0, le=1)]


class Artifact(Record):
    """One file that holds every program for one runtime and precision."""

    runtime: Runtime
    precision: Precision
    file: str
    bytes: Annotated[int, Field(ge=1)]
    sha256: Sha256
    programs: list[Program] = Field(min_length=1)
    runtime_version: str
    """The runtime (name and version) that `convert` checked it with."""
    parity: list[Parity]
    accuracy: list[Accuracy] = []
    provenance: dict[str, Any] = {}
    """How it was converted: images, exporter, distance of the float graphs from torch."""


class WeightsFile(Record):
    """A nested weight store, its recipe or its templates (LiteRT artifacts carry their weights themselves)."""

    runtime: Runtime
    precision: Precision
    """Runtime and precision: of the artifact that it belongs to."""
    role: Literal["store", "recipe", "template"]
    file: str
    bytes: Annotated[int, Field(ge=1)]
    sha256: Sha256


class Model(Record):
    """The network: what goes in and what the outputs mean."""

    name: str
    spec: dict[str, Any]
    classes: list[str] = Field(min_length=2, max_length=MAX_CLASSES)
    input_size: Annotated[int, Field(ge=8, le=MAX_INPUT_SIZE)]
    """Side of the square RGB input in pixels; images are scaled to it, divided by 255, then (x − mean) / std."""
    mean: list[Finite] = Field(min_length=3, max_length=3)
    std: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(min_length=3, max_length=3)


class Width(Record):
    """One width of the routing space."""

    index: Annotated[int, Field(ge=0, lt=MAX_WIDTHS)]
    name: str
    channels: list[Annotated[int, Field(ge=1, le=MAX_CHANNELS)]] = Field(min_length=1, max_length=MAX_LAYERS)
    """Output channels of the stem and of every block, in the order they run."""
    macs: Annotated[int, Field(ge=1)]
    """Multiply-accumulates for one image, gate included."""
    params: Annotated[int, Field(ge=1)]


class Gate(Record):
    """Where the gate sits and which width each of its logits stands for."""

    kind: Literal["trunk", "side"]
    choices: list[Annotated[int, Field(ge=0, lt=MAX_WIDTHS)]] = Field(min_length=1)


class Share(Record):
    """How often an operating point picks a width."""

    width: Annotated[int, Field(ge=0, lt=MAX_WIDTHS)]
    share: Annotated[float, Field(ge=0, le=1)]


class OperatingPoint(Record):
    """Thresholds for one device and one budget.

    score = Σ_j j·softmax(gate logits)_j; the width used is `widths[number of thresholds below the score]`.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    runtime: Runtime
    precision: str
    device: str
    runner: str = "python"
    """What ran the programs when their latency was measured."""
    threads: Annotated[int, Field(ge=1, le=1024)]
    statistic: Literal["mean", "p95"]
    budget_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    widths: list[Annotated[int, Field(ge=0, lt=MAX_WIDTHS)]] = Field(min_length=1)
    thresholds: list[Finite]
    shares: list[Share]
    expected_mean_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    expected_budget_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """The budget's own statistic (mean or p95) that the latency table predicts for these thresholds."""
    calibration_accuracy: Annotated[float, Field(ge=0, le=1)]
    optimality_gap: Annotated[float, Field(ge=0, le=1)]
    """No threshold rule on the calibration set is more accurate by more than this (in accuracy, 0…1)."""
    artifact_sha256: Sha256
    latency_sha256: Sha256
    predictions_sha256: Sha256
    stand_in_sha256: Sha256 | None = None
    """The artifact of this bundle that answered in the predictions, where it was another one."""

    @model_validator(mode="after")
    def _thresholds_fit_widths(self) -> "OperatingPoint":
        if len(self.thresholds) != len(self.widths) - 1:
            raise ValueError(
                f"{len(self.widths)} widths need {len(self.widths) - 1} thresholds, found {len(self.thresholds)}"
            )
        if self.thresholds != sorted(self.thresholds) or self.widths != sorted(set(self.widths)):
            raise ValueError("widths must ascend and thresholds must not decrease")
        return self


class Manifest(Record):
    """`manifest.json`."""

    format: str
    model: Model
    widths: list[Width] = Field(min_length=1, max_length=MAX_WIDTHS)
    gate: Gate | None
    artifacts: list[Artifact]
    weights: list[WeightsFile] = []
    provenance: dict[str, Any]
    """Where the network comes from: checkpoint sha256, training record."""
    operating_points: list[OperatingPoint] = []
