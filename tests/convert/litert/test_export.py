"""Float graphs are compared with torch: what rounding explains passes, however deep the network, and nothing else."""

import numpy as np
import pytest

from convert import ParityError
from convert.litert.export import FLOAT_TOLERANCE, check_float, export_float
from convert.litert.float_graph import Graph
from convert.litert.frontend import load_frontend
from convert.slice_plan import plan_programs
from tests.convert.supernets import images, trained_like
from train.spec import StageSpec, SupernetSpec

SPEC = SupernetSpec(
    "small", 16, 10, StageSpec((8, 16), 1, 2, kernel=1), (StageSpec((8, 16), 2, 2),), gates=(), family="mobilenet_v1"
)
PLANS = plan_programs(SPEC, [0, 1])
OFFSET = np.float32(30_000)


def exported(tensors: dict[str, np.ndarray]) -> list[Graph]:
    return export_float(SPEC, tensors, PLANS, load_frontend("onnx2tf"))


def test_rounding_that_the_network_amplifies_is_no_difference_of_the_graph() -> None:
    tensors, (image,) = trained_like(SPEC).tensors, images(SPEC, 1)
    for width, channels in enumerate(SPEC.stem.channels):
        # The batch norm takes away what the offset of the image adds: small differences of large numbers remain.
        tensors[f"stem_bn.statistics.{width}.mean"] = OFFSET * tensors["stem.weight"][:channels].sum((1, 2, 3))
    difference = check_float(SPEC, tensors, exported(tensors), image + OFFSET)
    assert FLOAT_TOLERANCE < difference < 1e-2, f"relative difference {difference:.1e}"


@pytest.mark.parametrize("name", ["stem.weight", "stages.0.1.depthwise.weight", "classifier.bias"])
def test_a_graph_of_other_weights_is_refused_with_its_program_and_the_limit(name: str) -> None:
    tensors, (image,) = trained_like(SPEC).tensors, images(SPEC, 1)
    graphs = exported(tensors)
    assert check_float(SPEC, tensors, graphs, image) < FLOAT_TOLERANCE
    tensors[name] = tensors[name] * np.float32(1.01)
    with pytest.raises(ParityError, match=r"program net_00: the float graph's outputs differ .* \(limit 1.0e-04\)"):
        check_float(SPEC, tensors, graphs, image)
