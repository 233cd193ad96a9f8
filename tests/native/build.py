"""Write what the native runner's tests run: `python -m tests.native.build` (exports with ExecuTorch, about a minute).

networks/first, networks/second   bundles of the golden supernet with two sets of weights, alike but for those
networks/kernels                  a bundle of a network like it with kernels of two sizes
networks/two_gates                a bundle of a network with two gates
routing.pte                       programs of every role whose logits are numbers of the image (data.py: which ones)
"""

from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import torch
from executorch.exir import to_edge_transform_and_lower
from torch import nn

from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import noise_images
from tests.convert.supernets import trained_like
from tests.gated_network import TWO_GATES
from tests.golden.supernet import SPEC
from tests.native.data import (
    DATA,
    NETWORKS,
    ROUTING,
    ROUTING_CLASSES,
    ROUTING_GATES,
    ROUTING_IMAGE,
    ROUTING_WIDTHS,
)
from train.spec import SupernetSpec

KERNELS = replace(SPEC, name="kernels", stages=(SPEC.stages[0], replace(SPEC.stages[1], depth=2, kernels=(3, 5))))
BOTH = ("fp32", "int8")
BUNDLES = {
    "first": (SPEC, BOTH),
    "second": (SPEC, ("fp32",)),
    "kernels": (KERNELS, BOTH),
    "two_gates": (TWO_GATES, BOTH),
}


def write_bundle(name: str, seed: int, spec: SupernetSpec, precisions: tuple[str, ...]) -> None:
    """Write the bundle of a supernet with random weights."""
    widths = tuple(range(spec.n_widths))
    classes = tuple(f"class {index}" for index in range(spec.classes))
    request = Request(widths, "executorch", precisions, classes)
    build_bundle(trained_like(spec, seed), request, noise_images(spec, 4, seed), NETWORKS / name)


class Part(nn.Module):
    """Answers with the image's own numbers, `count` of them from `start` on."""

    def __init__(self, start: int, count: int) -> None:
        super().__init__()
        self.part = slice(start, start + count)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return image.flatten(1)[:, self.part]


class TrunkPart(nn.Module):
    """Passes the image on, what the gate before has said moved to its end, and says what comes first then."""

    def __init__(self, moved: int) -> None:
        super().__init__()
        self.moved = moved

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and gate logits."""
        numbers = features.flatten(1)
        given = torch.cat([numbers[:, self.moved :], numbers[:, : self.moved]], 1)
        return given.reshape(features.shape), given[:, : ROUTING_GATES[-1]]


def routing_program() -> bytes:
    """Return a program file whose programs can be told what to say."""
    image = torch.zeros(ROUTING_IMAGE)
    modules: dict[str, nn.Module] = {f"gate_{count:02d}": Part(0, count) for count in ROUTING_GATES}
    for width in range(ROUTING_WIDTHS):
        modules[f"net_{width:02d}"] = Part(ROUTING_GATES[-1] + width * ROUTING_CLASSES, ROUTING_CLASSES)
    modules |= {"prefix": TrunkPart(0), "stage": TrunkPart(ROUTING_GATES[-1]), "tail": Part(0, ROUTING_CLASSES)}
    exported = {name: torch.export.export(module.eval(), (image,)) for name, module in modules.items()}
    return bytes(to_edge_transform_and_lower(exported).to_executorch().buffer)


def main() -> None:
    """Write everything."""
    rmtree(DATA, ignore_errors=True)
    DATA.mkdir()
    Path(ROUTING).write_bytes(routing_program())
    for seed, (name, (spec, precisions)) in enumerate(BUNDLES.items()):
        write_bundle(name, seed, spec, precisions)


if __name__ == "__main__":
    main()
