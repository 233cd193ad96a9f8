"""Activation ranges are such that the runtime can express every layer's requantization."""

from pathlib import Path

import numpy as np

from convert.images import noise_images
from convert.litert.activations import DEAD_SPAN, observe, tensor_name
from convert.litert.export import export_float
from convert.litert.frontend import load_frontend
from convert.slice_plan import plan_programs
from train.checkpoint import load_checkpoint


def test_an_activation_that_never_fires_gets_a_range_all_the_same(golden: Path) -> None:
    """In the golden supernet one unit of attention is dead; with a range of 1e-9 LiteRT corrupted its heap."""
    checkpoint = load_checkpoint(golden / "supernet.safetensors")
    plans = plan_programs(checkpoint.spec, [0])
    prefix, _ = export_float(checkpoint.spec, checkpoint.tensors, plans, load_frontend("onnx2tf"))
    ranges = observe(prefix, [{"image": image} for image in noise_images(checkpoint.spec, 4, 0).images])
    activations = {tensor_name(int(index)) for operator in prefix.program.graph.operators for index in operator.outputs}
    spans = {name: float(np.max(seen["max"] - seen["min"])) for name, seen in ranges.items() if name in activations}
    assert min(spans.values()) >= DEAD_SPAN * 0.999, spans
    assert [name for name, span in spans.items() if np.isclose(span, DEAD_SPAN)] != [], "nothing was dead"
