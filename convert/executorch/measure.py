"""Before exporting: what every program reads on the check images, and how features are quantized."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from convert.executorch.quantize import observed
from convert.fold import Float
from convert.program_inputs import Named, run_in_order
from convert.program_record import Joint, Joints, joint
from convert.slice_plan import ProgramPlan
from convert.static_module import StaticProgram


def measure(
    plans: Sequence[ProgramPlan], modules: Mapping[str, StaticProgram], images: Sequence[Tensor]
) -> tuple[dict[str, list[Float]], Joints]:
    """Return every program's inputs, by its name, one per image, and how the features at every joint are quantized.

    modules: the float programs by name. Where several programs give what others read, the range is that of all.
    """
    samples: dict[str, list[Float]] = {}
    features: dict[Joint, list[list[Float]]] = {}

    def run(plan: ProgramPlan, inputs: Sequence[Named[Float]]) -> list[Named[Float]]:
        if plan.output_names[0] != "features":  # nothing reads what it gives
            return []
        return [{"features": _features(modules[plan.name], sample[plan.input_name])} for sample in inputs]

    for plan, inputs, outputs in run_in_order(plans, [image.numpy() for image in images], run):
        samples[plan.name] = [sample[plan.input_name] for sample in inputs]
        if outputs:
            given = [output["features"] for output in outputs]
            features.setdefault(joint(plan, plan.cut.wanted[0]), []).append(given)
    return samples, {place: observed(programs) for place, programs in features.items()}


@torch.no_grad()
def _features(module: StaticProgram, values: Float) -> Float:
    features: Float = module(torch.from_numpy(values))[0].numpy()
    return features
