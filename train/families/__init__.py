"""The families of networks: how each lays a spec out as a graph. No torch.

All of them: stem ─ stages of blocks ─ head, a 1×1 convolution, if any ─ global average pool ─ classifier. What a block
is, the family says.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from train.families import mobilenet, resnet, vit
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
    has_gate: bool = False
    """Whether a gate may sit on the trunk."""
    has_stem_pool: bool = False
    """Whether the stem may end with a max pool."""
    begins_as_identity: bool = False
    """Whether training begins with residual branches that add nothing: the last gamma of each is 0, as is usual for
    ResNets (Goyal et al., 2017, arXiv 1706.02677, section 5.1)."""
    is_transformer: bool = False
    """Whether the stem cuts the image into patches, and blocks have attention heads and an MLP."""


_RESNET = Family(
    resnet.resnet_basic,
    resnet.basic_problems,
    has_depthwise=False,
    has_gate=True,
    has_stem_pool=True,
    begins_as_identity=True,
)
FAMILIES = {
    "ds_mbv1": Family(mobilenet.ds_mbv1, has_gate=True),
    "mobilenet_v1": Family(mobilenet.mobilenet_v1),
    "mobilenet_v2": Family(mobilenet.mobilenet_v2, mobilenet.unequal_residuals, expands=True),
    "resnet_basic": _RESNET,
    "resnet_bottleneck": replace(_RESNET, lay_out=resnet.resnet_bottleneck, problems=resnet.bottleneck_problems),
    "vit": Family(vit.vit, vit.vit_problems, has_depthwise=False, has_gate=True, is_transformer=True),
}
