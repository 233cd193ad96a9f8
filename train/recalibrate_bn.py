"""Batch-norm statistics per width, recomputed from data once the weights are final (US-Nets, Yu & Huang, ICCV 2019).

Training normalises by the batch and keeps no statistics (`train.layers.WidthBatchNorm2d`), so every set is measured
here, by the widths that use it: what an un-slimmed convolution after slimmed ones gives differs from width to width.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from train.errors import DataError
from train.layers import Statistics, WidthBatchNorm2d, normalise_by_batch
from train.supernet import Supernet


@dataclass
class _Pool:
    """Sums over all batches, in float64: Σ count, Σ count·mean, Σ count·(variance + mean²)."""

    count: int
    first: Tensor
    second: Tensor

    def add(self, x: Tensor) -> None:
        variance, mean = (moment.cpu() for moment in torch.var_mean(x.float(), dim=(0, 2, 3), correction=0))
        count, mean = x.numel() // x.shape[1], mean.double()
        self.count += count
        self.first += count * mean
        self.second += count * (variance.double() + mean.square())

    def write(self, statistics: Statistics) -> None:
        mean = self.first / self.count
        statistics.mean.copy_(mean)
        statistics.var.copy_((self.second / self.count - mean.square()).clamp_min(0))


@torch.no_grad()
def recalibrate(model: Supernet, batches: Iterable[Tensor], widths: Sequence[int] | None = None) -> None:
    """Replace the batch-norm statistics of `model` by the pooled mean and population variance over all `batches`.

    widths: those to measure, 0 among them; by default all, `largest` included.

    Batches are normalised images (n, 3, r, r); layers below normalise by the batch, as in training. A set of statistics
    that several widths share is pooled over them; `largest` touches nothing that a width of the routing space uses. The
    mode of the model is left as it was. No batch at all is a DataError. A network without batch norm stays as it is.
    """
    was_training = {module: module.training for module in model.modules()}
    pools: dict[Statistics, _Pool] = {}

    def measure(norm: WidthBatchNorm2d, inputs: tuple[Tensor, int]) -> None:
        x, width = inputs
        if width >= model.spec.n_widths and norm.indices.index(norm.indices[width]) != width:
            return
        zeros = torch.zeros(x.shape[1], dtype=torch.float64)  # on the CPU: some accelerators have no float64
        pools.setdefault(norm.statistics_of(width), _Pool(0, zeros, zeros.clone())).add(x)

    norms = [module for module in model.modules() if isinstance(module, WidthBatchNorm2d)]
    if not norms:
        return
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    normalise_by_batch(model)
    try:
        for images in batches:
            for width in widths or range(model.spec.largest + 1):
                model(images, width)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in was_training.items():
            module.training = training
    if not pools:
        raise DataError("batch-norm recalibration got no images; give a data set with at least one")
    for statistics, pool in pools.items():
        pool.write(statistics)
