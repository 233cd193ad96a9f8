"""int8 weights inside coremltools' pipeline: each convolution's weight becomes shared integers times a scale.

A graph pass of ours runs after coremltools' own. `linear_quantize_weights` would choose integers anew for every width.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.coreml.options import Target
from convert.errors import ExportError
from convert.fold import Float
from convert.quantized_weights import Int8
from convert.quiet import quiet

with quiet():
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.converters.mil.mil.passes.helper import block_context_manager
    from coremltools.converters.mil.mil.passes.pass_registry import register_pass

PASS = "dsnet::share_int8"
NAME = re.compile(r"(?:program\.)?(?P<parameter>.*?)(?:_to_fp16)?")
"""The name of a constant: the torch parameter's, in a program that normalises its image one level deeper, and with what
coremltools adds to constants that it rounds."""
Half = NDArray[np.float16]


@dataclass(frozen=True)
class Substitute:
    """What stands for one float weight."""

    payload: Int8 = field(repr=False)
    """[O, I, k, k]"""
    scale: Half = field(repr=False)
    """[O]"""


Substitutes = Mapping[str, Substitute]
"""By the name of the torch parameter, "layers.stem.weight"."""


def half_scale(scale: Float) -> Half:
    """Return scales as Core ML stores them; one that float16 cannot hold is an ExportError."""
    with np.errstate(over="ignore"):
        rounded = scale.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise ExportError(
            f"a filter scale of {scale.max():.3g} is beyond float16's range; convert with --precision fp32"
        )
    return rounded


@register_pass(namespace="dsnet")
class share_int8(AbstractGraphPass):  # type: ignore[misc]  # noqa: N801
    """Replace the weight of every convolution; the class's name is the pass's."""

    substitutes: Substitutes = MappingProxyType({})
    target: Target = "iOS18"

    def apply(self, prog: Any) -> None:
        """Change a program in place; a convolution without a substitute is an ExportError, and so is the reverse."""
        replaced: set[str] = set()
        for function in prog.functions.values():
            replaced |= self._apply_to(function)
        if missing := set(self.substitutes) - replaced:
            raise ExportError(f"coremltools' program has no convolution for {', '.join(sorted(missing)[:3])}")

    @block_context_manager  # type: ignore[untyped-decorator]
    def _apply_to(self, block: Any) -> set[str]:
        replaced = set()
        for operation in [op for op in block.operations if op.op_type == "conv"]:
            weight = operation.weight
            match = NAME.fullmatch(weight.op.name)
            name = match["parameter"] if match else weight.op.name
            if name not in self.substitutes or self.substitutes[name].payload.shape != weight.val.shape:
                raise ExportError(f"coremltools' program has a convolution {name!r} that is none of the network's")
            substitute = self.substitutes[name]
            made = self._dequantized(substitute, operation, f"{name}_int8")
            block.replace_uses_of_var_after_op(anchor_op=made.op, old_var=weight, new_var=made, force_replace=True)
            block.remove_ops([weight.op])
            replaced.add(name)
        return replaced

    def _dequantized(self, substitute: Substitute, before: Any, name: str) -> Any:
        """Return the operation that the target has for integers times a scale per output channel."""
        if self.target in ("iOS16", "iOS17"):
            return Builder.constexpr_affine_dequantize(
                quantized_data=substitute.payload,
                zero_point=np.int8(0),
                scale=substitute.scale,
                axis=np.int32(0),
                before_op=before,
                name=name,
            )
        return Builder.constexpr_blockwise_shift_scale(
            data=substitute.payload, scale=substitute.scale.reshape(-1, 1, 1, 1), before_op=before, name=name
        )
