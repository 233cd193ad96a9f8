"""Where programs meet, and what the manifest says about those in NCHW, as those of ExecuTorch and Core ML are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from convert.slice_plan import ProgramPlan
from edge.bundle.manifest import Program, TensorInfo
from train.graph import Value

Joint = tuple[str, int]
"""Where programs meet: the value that one passes on to the next, and how many channels it has."""


@dataclass(frozen=True)
class Quantization:
    """real = scale · (q − zero_point)."""

    scale: float
    zero_point: int


Joints = Mapping[Joint, Quantization]
"""How features are quantized, whichever programs give and take them; float32 where a joint is not there."""


def joint(plan: ProgramPlan, value: Value) -> Joint:
    """Return where a program takes or gives a value."""
    return value.name, value.channels[plan.width]


def program_record(plan: ProgramPlan, joints: Joints) -> Program:
    """Return the manifest's entry of a program."""
    outputs = zip(plan.output_names, plan.cut.wanted, strict=True)
    return Program(
        name=plan.name,
        role=plan.role,
        widths=list(plan.widths),
        inputs=[_tensor(plan, plan.input_name, plan.cut.given, joints)],
        outputs=[_tensor(plan, name, value, joints) for name, value in outputs],
    )


def _tensor(plan: ProgramPlan, name: str, value: Value, joints: Joints) -> TensorInfo:
    shape = plan.shape_of(value)
    quantization = joints.get(joint(plan, value))
    return TensorInfo(
        name=name,
        shape=list(shape if name in ("image", "features") else shape[:2]),
        dtype="int8" if quantization else "float32",
        **(asdict(quantization) if quantization else {}),
    )
