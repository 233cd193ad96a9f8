"""Write what the native runner's tests run: `python -m tests.native.build` (exports with ExecuTorch, about a minute).

networks/first, networks/second   bundles of the golden supernet with two sets of weights, alike but for those
routing.pte                       gate: the image's first four numbers are its logits; net_NN: class NN for any image
"""

from pathlib import Path
from shutil import rmtree

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import nn

from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import noise_images
from tests.convert.supernets import trained_like
from tests.golden.supernet import SPEC
from tests.native.data import DATA, NETWORKS, ROUTING, ROUTING_CLASSES, ROUTING_IMAGE, ROUTING_LOGITS, ROUTING_WIDTHS

PRECISIONS = {"first": ("fp32", "int8"), "second": ("fp32",)}


def write_bundle(name: str, seed: int, precisions: tuple[str, ...]) -> None:
    """Write the bundle of a golden supernet with random weights."""
    widths = tuple(range(SPEC.n_widths))
    classes = tuple(f"class {index}" for index in range(SPEC.classes))
    request = Request(widths, "executorch", precisions, classes)
    build_bundle(trained_like(SPEC, seed), request, noise_images(SPEC, 4, seed), NETWORKS / name)


class Chosen(nn.Module):
    """A linear layer on the image as a vector: `weight` picks, `bias` decides."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        self.linear.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.linear(image.flatten(1))


def routing_program() -> bytes:
    """Return a program file whose gate can be told what to say, and whose nets say which of them ran."""
    image = torch.zeros(ROUTING_IMAGE)
    modules = {"gate": Chosen(torch.eye(ROUTING_LOGITS, image.numel()), torch.zeros(ROUTING_LOGITS))}
    for width in ROUTING_WIDTHS:
        bias = torch.eye(ROUTING_CLASSES)[width]
        modules[f"net_{width:02d}"] = Chosen(torch.zeros(ROUTING_CLASSES, image.numel()), bias)
    exported = {name: torch.export.export(module.eval(), (image,)) for name, module in modules.items()}
    partitioners = {name: [XnnpackPartitioner()] for name in exported}
    return bytes(to_edge_transform_and_lower(exported, partitioner=partitioners).to_executorch().buffer)


def main() -> None:
    """Write everything."""
    rmtree(DATA, ignore_errors=True)
    DATA.mkdir()
    Path(ROUTING).write_bytes(routing_program())
    for seed, (name, precisions) in enumerate(PRECISIONS.items()):
        write_bundle(name, seed, precisions)


if __name__ == "__main__":
    main()
