"""Where the training benchmarks run: the first GPU, or the CPU."""

import logging

from lightning.fabric import Fabric

from train.config import Precision


def one_device(precision: Precision = "32-true") -> Fabric:
    """Return Lightning's handle on one device, which says nothing of its own accord."""
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return Fabric(devices=1, precision=precision)
