"""The bundle's contract: `manifest.json`, schema "dsnet-bundle/2". `MAX_…` bounds are checked before allocation.

Readers accept unknown fields of the same major version and refuse a higher major version by name. Format 1, of bundles
with at most one gate, is read as what it says in format 2 (`edge.bundle.first_format`).
"""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from edge.bundle.fields import MAX_GATES, MAX_PROGRAMS, MAX_WIDTHS, AscendingWidths, Finite, WidthIndex
from edge.bundle.fields import Record as Record
from edge.bundle.first_format import is_first_format, upgraded
from edge.bundle.policies import CascadePolicy as CascadePolicy
from edge.bundle.policies import Policy as Policy
from edge.bundle.policies import ThresholdPolicy as ThresholdPolicy
from edge.bundle.policies import TreePolicy as TreePolicy
from edge.bundle.policies import UtilityPolicy as UtilityPolicy
from edge.bundle.policies import WidthPolicy as WidthPolicy

FORMAT = "dsnet-bundle/2"
MAX_CLASSES, MAX_INPUT_SIZE, MAX_ELEMENTS = 100_000, 2048, 1 << 28
MAX_CHANNELS, MAX_LAYERS, MAX_LIMITS, MAX_OPERATING_POINTS = 16384, 1024, 16, 1024

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Runtime = Literal["litert", "executorch", "coreml"]
Precision = Annotated[str, Field(pattern=r"^[a-z0-9]{2,8}$")]
Role = Literal["prefix", "stage", "tail", "gate", "net"]


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

    name: str = Field(pattern=r"^(prefix|gate|stage_[1-7](_[0-9]{2,3}){1,2}|tail(_[0-9]{2,3}){1,2}|net_[0-9]{2,3})$")
    role: Role
    widths: AscendingWidths
    """The widths whose images run it. An artifact's programs lie in the order in which they run."""
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    root_offset: Annotated[int, Field(ge=4)] | None = None
    """LiteRT: put this number, little-endian, into the file's first 4 bytes and the runtime sees this program alone."""

    @model_validator(mode="after")
    def _role_fits_name(self) -> "Program":
        if self.name.split("_")[0] != self.role:
            raise ValueError(f"program {self.name!r} does not fit role {self.role!r}")
        return self

    @property
    def answers(self) -> bool:
        """Return whether it gives the class logits."""
        return self.role in ("tail", "net")


class Parity(Record):
    """What `convert` compared for one program, and what it found."""

    program: str
    max_abs_difference: Finite
    """Largest absolute difference of any output between the nested artifact and plain models of the same integers."""
    images: Annotated[int, Field(ge=1)]


class Accuracy(Record):
    """Top-1 of one width on the conversion's check images: in float (the supernet's slice) and as converted."""

    width: WidthIndex
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
    programs: list[Program] = Field(min_length=1, max_length=MAX_PROGRAMS)
    runtime_version: str
    """The runtime (name and version) that `convert` checked it with."""
    parity: list[Parity] = Field(max_length=MAX_PROGRAMS)
    accuracy: list[Accuracy] = Field(default_factory=list, max_length=MAX_WIDTHS)
    provenance: dict[str, Any] = Field(default_factory=dict)
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

    index: WidthIndex
    name: str
    path: list[WidthIndex] = Field(min_length=1, max_length=MAX_GATES)
    """Which of its entries each part of the network runs at: a number per gate on the trunk; without one, the index."""
    channels: list[Annotated[int, Field(ge=1, le=MAX_CHANNELS)]] = Field(min_length=1, max_length=MAX_LAYERS)
    """Output channels of the stem and of every block, in the order they run."""
    macs: Annotated[int, Field(ge=1)]
    """Multiply-accumulates for one image, gates included."""
    params: Annotated[int, Field(ge=1)]


class Gate(Record):
    """Where a gate sits and which entry of its part each of its logits stands for; with one gate, which width."""

    kind: Literal["trunk", "side"]
    choices: list[WidthIndex] = Field(min_length=1)


class Share(Record):
    """How often an operating point picks a width."""

    width: WidthIndex
    share: Annotated[float, Field(ge=0, le=1)]
    mean_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Mean latency of an image that this width answers, by the latency table: all that runs for it. A device that
    takes longer for it than this is slower than when it was measured; None in points written before it was kept."""


LatencyStatistic = Literal["mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms"]
Statistic = Literal[LatencyStatistic, "images_per_s", "mean_macs", "accuracy"]
AT_LEAST: tuple[Statistic, ...] = ("images_per_s", "accuracy")
"""Statistics whose limit is a lower one; the others' are upper ones."""


class Limit(Record):
    """One condition that an operating point was asked to meet, and what it does on the calibration images."""

    statistic: Statistic
    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """The largest value allowed; for images_per_s and accuracy (0…1) the smallest."""
    expected: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _accuracies_are_shares(self) -> "Limit":
        if self.statistic == "accuracy" and max(self.value, self.expected) > 1:
            raise ValueError(f"an accuracy is 0…1, found {self.value:g} and {self.expected:g}")
        return self


class Estimate(Record):
    """A value and its 95% confidence interval."""

    value: Finite
    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _inside_its_interval(self) -> "Estimate":
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value:g} is not within {self.low:g}…{self.high:g}")
        return self


class HeldOut(Record):
    """What rules do on calibration images that they were not fitted to.

    With a confidence, the images that a rule was tested on: the test chose it among others.
    """

    images: Annotated[int, Field(ge=1)]
    folds: Annotated[int, Field(ge=1)]
    """1: one half was fitted to, the other one judged."""
    accuracy: Estimate
    mean_ms: Estimate
    limits: list[Estimate] = Field(max_length=MAX_LIMITS)
    """The statistic of each limit, in their order."""


class OperatingPoint(Record):
    """A policy for one device and its limits."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    runtime: Runtime
    precision: str
    device: str
    runner: str = "python"
    """What ran the programs when their latency was measured."""
    threads: Annotated[int, Field(ge=1, le=1024)]
    sustained: bool = False
    """Whether the latencies are those of a device kept at work, not of a burst."""
    policy: Policy = Field(discriminator="kind")
    objective: Literal["accuracy", "mean_ms"]
    """What is best within the limits: the highest accuracy, or, with a limit on accuracy, the lowest mean latency."""
    limits: list[Limit] = Field(min_length=1, max_length=MAX_LIMITS)
    confidence: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The probability with which every limit holds on new images, where that was asked for."""
    shares: list[Share] = Field(max_length=MAX_WIDTHS)
    """How often each width answers, on the calibration images."""
    expected_mean_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    calibration_accuracy: Annotated[float, Field(ge=0, le=1)]
    optimality_gap: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    """No rule of this kind is better by more than this on the calibration images (in the unit of the
    objective: accuracy 0…1, or ms); None: no bound is known."""
    held_out: HeldOut | None = None
    """None: too few images, for cross-fitting or for the budget to be met without some of them."""
    artifact_sha256: Sha256
    latency_sha256: Sha256
    predictions_sha256: Sha256
    stand_in_sha256: Sha256 | None = None
    """The artifact of this bundle that answered in the predictions, where it was another one."""

    @model_validator(mode="before")
    @classmethod
    def _of_the_first_form(cls, fields: Any) -> Any:
        """Read points written before there were several policies: one budget, and thresholds beside everything else."""
        if not isinstance(fields, dict) or "policy" in fields or "budget_ms" not in fields:
            return fields
        old = dict(fields)
        policy = {"kind": "thresholds", "widths": old.pop("widths", None), "thresholds": old.pop("thresholds", None)}
        limit = {
            "statistic": f"{old.pop('statistic', None)}_ms",
            "value": old.pop("budget_ms"),
            "expected": old.pop("expected_budget_ms", None),
        }
        return {**old, "policy": policy, "objective": "accuracy", "limits": [limit]}

    @model_validator(mode="after")
    def _one_of_each(self) -> "OperatingPoint":
        for name, found in (
            ("limits", [limit.statistic for limit in self.limits]),
            ("shares", [share.width for share in self.shares]),
        ):
            if len(set(found)) < len(found):
                raise ValueError(f"{name} name the same thing twice: {found[:8]}")
        if self.held_out and len(self.held_out.limits) != len(self.limits):
            raise ValueError(f"{len(self.limits)} limits, but {len(self.held_out.limits)} held-out estimates of limits")
        return self

    @property
    def widths(self) -> list[int]:
        """Return the widths that the policy may use, narrow → wide."""
        return self.policy.widths


class Manifest(Record):
    """`manifest.json`."""

    format: str
    model: Model
    widths: list[Width] = Field(min_length=1, max_length=MAX_WIDTHS)
    gates: list[Gate] = Field(max_length=MAX_GATES)
    """In the order in which they decide."""
    artifacts: list[Artifact]
    weights: list[WeightsFile] = Field(default_factory=list)
    provenance: dict[str, Any]
    """Where the network comes from: checkpoint sha256, training record."""
    operating_points: list[OperatingPoint] = Field(default_factory=list, max_length=MAX_OPERATING_POINTS)

    @model_validator(mode="before")
    @classmethod
    def _of_the_first_format(cls, fields: Any) -> Any:
        return {**upgraded(fields), "format": FORMAT} if is_first_format(fields) else fields
