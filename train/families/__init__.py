"""The families of networks: how each lays a spec out as a graph. No torch.

All of them: stem ─ stages of blocks ─ head, a 1×1 convolution, if any ─ global average pool ─ classifier. What a block
is, the family says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from train.families import mobilenet
from train.graph import Graph

if TYPE_CHECKING:
    from train.spec import SupernetSpec


@dataclass(frozen=True)
class Family:
    """What is known of a family beyond its specs."""

    lay_out: Callable[["SupernetSpec"], Graph]
    problems: Callable[["SupernetSpec"], list[str]] = lambda _: []
    """What of a spec, sound in itself, the family cannot lay out: one clause each."""
    expands: bool = False
    """Whether a stage may have an expansion."""
    has_depthwise: bool = True
    """Whether blocks have a depthwise convolution, whose kernel a stage may slice."""
    has_attention: bool = False
    """Whether blocks have an attention, which a gate on the trunk reads."""


FAMILIES = {
    "ds_mbv1": Family(mobilenet.ds_mbv1, has_attention=True),
    "mobilenet_v1": Family(mobilenet.mobilenet_v1),
    "mobilenet_v2": Family(mobilenet.mobilenet_v2, mobilenet.unequal_residuals, expands=True),
}
