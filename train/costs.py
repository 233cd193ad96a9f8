"""What running an image at a width costs: multiply-accumulates, or milliseconds measured on a device. No torch.

The latency table is the file that `dsnet profile` writes, schema "dsnet-latency/1"; only what is needed is read here.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from common.program_names import GATE, trunk_programs, whole_program
from train.errors import ConfigError
from train.spec import SupernetSpec
from train.ways import ways_of

LATENCY_FORMAT = "dsnet-latency/1"
MAX_LATENCY_BYTES = 64 << 20
"""About three million samples."""

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class CostTarget:
    """A mean cost per image that the gates are trained to meet."""

    costs: tuple[float, ...]
    """Cost of an image at every width that the gates choose between, ascending (`train.ways`)."""
    target: float
    """Mean cost per image, in the same unit."""
    unit: str
    """`MACs` or `ms`."""

    def __post_init__(self) -> None:
        if not min(self.costs) <= self.target <= max(self.costs):
            wanted = f"target of {self.target:g} {self.unit} per image"
            reach = f"{min(self.costs):g} … {max(self.costs):g} {self.unit}"
            raise ConfigError(f"{wanted} is out of reach: the gate's widths cost {reach}; choose a value between")


class _Entry(BaseModel):
    programs: list[str]
    blocks_ms: list[list[Milliseconds]]


class _Run(BaseModel):
    device: str
    precision: str
    threads: int
    entries: list[_Entry]

    @property
    def name(self) -> str:
        return f"{self.device} {self.precision} {self.threads} thread(s)"


class _Table(BaseModel):
    format: str
    runs: list[_Run] = Field(min_length=1)


def mac_target(spec: SupernetSpec, macs: float) -> CostTarget:
    """Return the target of a mean number of multiply-accumulates per image."""
    return CostTarget(tuple(float(spec.macs(width)) for width in _widths(spec)), macs, "MACs")


def latency_target(
    spec: SupernetSpec,
    path: Path,
    target_ms: float,
    device: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
) -> CostTarget:
    """Return the target of a mean latency per image, from the median samples of one run of a latency table.

    Device, precision and threads choose the run; those left out must not matter. Anything amiss is a ConfigError.
    """
    table = _read(path)
    wanted = {"device": device, "precision": precision, "threads": threads}
    given = {name: value for name, value in wanted.items() if value is not None}
    fitting = [run for run in table.runs if all(getattr(run, name) == value for name, value in given.items())]
    if len(fitting) != 1:
        names = "; ".join(run.name for run in table.runs)
        raise ConfigError(
            f"{path} has {len(fitting)} runs that fit, one is needed; it holds: {names}; choose with --device, "
            "--latency-precision, --latency-threads"
        )
    costs = tuple(_latency_ms(spec, path, fitting[0], width) for width in _widths(spec))
    return CostTarget(costs, target_ms, "ms")


def _widths(spec: SupernetSpec) -> tuple[int, ...]:
    if not spec.choices:
        raise ConfigError(f"spec {spec.name!r} has no gate to train; give a checkpoint of a spec with one")
    return ways_of(spec).widths


def _read(path: Path) -> _Table:
    try:
        if path.stat().st_size > MAX_LATENCY_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_LATENCY_BYTES} bytes; give a file that dsnet profile wrote")
        table = _Table.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{path} is no latency table; give a file that dsnet profile wrote") from error
    if table.format != LATENCY_FORMAT:
        raise ConfigError(f"{path} has format {table.format!r:.60}, expected {LATENCY_FORMAT!r}; profile again")
    return table


def _latency_ms(spec: SupernetSpec, path: Path, run: _Run, width: int) -> float:
    """Return the latency of an image at a width: measured end to end, or the sum of the programs it runs."""
    medians = {
        tuple(entry.programs): statistics.median(samples)
        for entry in run.entries
        if (samples := [sample for block in entry.blocks_ms for sample in block])
    }
    programs = trunk_programs(spec.paths[width]) if spec.gates else (GATE, whole_program(width))
    if programs in medians:
        return medians[programs]
    if all((program,) in medians for program in programs):
        return sum(medians[program,] for program in programs)
    if spec.side_gate and programs[1:] in medians:
        return medians[programs[1:]]  # profiled before the network had its gate, which costs 2% at most
    raise ConfigError(f"{path} has no samples of {' and '.join(programs)} in {run.name}; profile that width too")
