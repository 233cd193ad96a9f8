"""Post-training static quantization by PT2E, with our integers: every weight a range of the shared payload.

The quantizer is ExecuTorch's own for XNNPACK: int8 activations with one scale and zero point per tensor, int8 weights
with a scale per output channel. What it would choose for the weights is replaced by the shared payload and its scale
at this width; ExecuTorch then derives the int32 biases from scales as always. Features get one quantization wherever
programs meet at them, whichever these are, and pass between them as int8.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from torch import Tensor, fx
from torchao.quantization.pt2e import MovingAverageMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from convert.errors import ExportError
from convert.fold import Float, Tensors
from convert.program_record import Quantization
from convert.quantized_weights import QuantizedWeights, payload_at, scale_at
from convert.static_module import StaticProgram

SMALLEST_SCALE = 2.0**-12
"""What ExecuTorch's own configuration sets for activations: below it, XNNPACK's requantization loses precision."""
QUANTIZE = torch.ops.quantized_decomposed.quantize_per_tensor.default
MAX_POOL = torch.ops.aten.max_pool2d.default
DEQUANTIZE = torch.ops.quantized_decomposed.dequantize_per_tensor.default
CONVOLUTIONS = (torch.ops.aten.conv2d.default, torch.ops.aten.conv2d.padding)


def observed(programs: Sequence[Sequence[Float]]) -> Quantization:
    """Return the quantization of what several programs give, each of them these values, image after image."""
    ends = []
    for samples in programs:
        observer = _activation_observer()()
        for values in samples:
            observer(torch.from_numpy(values))
        ends += [observer.min_val, observer.max_val]
    union = _activation_observer()()
    union(torch.stack(ends))
    scale, zero_point = union.calculate_qparams()
    return Quantization(float(scale), int(zero_point))


def quantize(
    module: StaticProgram,
    samples: Sequence[Tensor],
    weights: QuantizedWeights,
    tensors: Tensors,
    taken: Quantization | None,
    given: Quantization | None,
) -> fx.GraphModule:
    """Return a program in static int8, from a float one, inputs to measure its activations on, and the shared integers.

    taken, given: the quantization of features that come in and go out as int8; None where an image or logits do, which
    stay float32.
    """
    exported = torch.export.export(module, (samples[0],)).module()
    assert isinstance(exported, fx.GraphModule)
    prepared = prepare_pt2e(exported, _quantizer())
    with torch.no_grad():
        for sample in samples:
            prepared(sample)
    converted = convert_pt2e(prepared)
    _set_weights(converted, module, weights, tensors)
    if given is not None:
        _give_features(converted.graph, given)
    if taken is not None:
        _take_features(converted.graph, taken)
    converted.graph.eliminate_dead_code()
    converted.recompile()
    assert isinstance(converted, fx.GraphModule)
    return converted


def _activation_observer() -> Any:
    return MovingAverageMinMaxObserver.with_args(
        dtype=torch.int8, qscheme=torch.per_tensor_affine, quant_min=-128, quant_max=127, eps=SMALLEST_SCALE
    )


def _quantizer() -> XNNPACKQuantizer:
    stock = get_symmetric_quantization_config(is_per_channel=True)
    # The range of the average image, as LiteRT's conversion has it. Networks have images that reach ten times as far:
    # they spoil the range of all images, and the quantizer's own choice, which looks at the histogram of all values.
    activation = replace(stock.input_activation, observer_or_fake_quant_ctr=_activation_observer())
    return XNNPACKQuantizer().set_global(replace(stock, input_activation=activation, output_activation=activation))


def _set_weights(converted: fx.GraphModule, module: StaticProgram, weights: QuantizedWeights, tensors: Tensors) -> None:
    """Replace integers and scales of every convolution; it is known by the name of its bias."""
    pieces, found = module.pieces, set()
    for node in converted.graph.nodes:
        if node.target not in CONVOLUTIONS:
            continue
        _, weight, bias = node.args[:3]
        integers, scale = weight.args[:2]
        path = str(bias.target).removesuffix(".bias")
        if path not in pieces:
            raise ExportError(
                f"program {module.name}: convolution {node.name} is of no layer; its bias is {bias.target}"
            )
        piece = pieces[path]
        payload = torch.from_numpy(payload_at(weights[piece.name], piece).copy())
        _assign(converted, integers.target, payload)
        _assign(
            converted, scale.target, torch.from_numpy(scale_at(weights[piece.name], tensors, piece, module.epsilon))
        )
        found.add(path)
    if missing := set(pieces) - found:
        raise ExportError(f"program {module.name}: the quantizer left out {', '.join(sorted(missing))}")


def _assign(converted: fx.GraphModule, name: str, value: Tensor) -> None:
    there = getattr(converted, name)
    if there.shape != value.shape:
        raise ExportError(f"constant {name} has shape {list(there.shape)}, not {list(value.shape)}")
    with torch.no_grad():
        there.copy_(value)


def _give_features(graph: fx.Graph, features: Quantization) -> None:
    """Let a program end with the integers of its features."""
    output = next(node for node in graph.nodes if node.op == "output")
    ((dequantize, gate_logits),) = output.args
    (quantize,) = dequantize.all_input_nodes
    _requantize(quantize, features)
    output.args = ((quantize, gate_logits),)


def _requantize(quantize: fx.Node, quantization: Quantization) -> None:
    """Quantize a value otherwise; a max pool's integers mean the same before it and after it."""
    for node in (quantize, *[user for user in quantize.users if user.target is DEQUANTIZE]):
        node.args = (node.args[0], quantization.scale, quantization.zero_point, *node.args[3:])
    (source,) = quantize.all_input_nodes
    if source.target is MAX_POOL:
        (dequantize,) = source.all_input_nodes
        (before,) = dequantize.all_input_nodes
        _requantize(before, quantization)


def _take_features(graph: fx.Graph, features: Quantization) -> None:
    """Let a program begin with the integers of its features."""
    given = next(node for node in graph.nodes if node.op == "placeholder")
    for quantize in list(given.users):
        if quantize.target is not QUANTIZE:
            raise ExportError(f"the features go into {quantize.target} before they are quantized")
        for node in list(quantize.users):
            node.args = (node.args[0], features.scale, features.zero_point, *node.args[3:])
        quantize.replace_all_uses_with(given)
        graph.erase_node(quantize)
