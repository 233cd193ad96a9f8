"""`dsnet import`: a published checkpoint becomes one of ours."""

from pathlib import Path
from typing import Annotated

import typer

from train.run import write_checkpoint


def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="Checkpoint of torch.save: .pt, .pth or .pth.tar.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Checkpoint to write, a .safetensors file.", show_default=False)],
    arch: Annotated[
        str,
        typer.Option(
            help="slimmable_mbnet_v1_bn_uniform (DS-Net), us_mobilenet_v1, us_mobilenet_v2, s_mobilenet_v1, "
            "s_mobilenet_v2, or auto: by its tensors.",
            metavar="ARCH",
        ),
    ] = "auto",
    ema: Annotated[bool, typer.Option("--ema", help="Take the averaged weights, state_dict_ema.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the network; default: that of the shipped spec.")] = None,
    resolution: Annotated[int, typer.Option(help="Side in pixels of the images it was trained on.")] = 224,
    half: Annotated[
        bool, typer.Option("--half", help="Write float16: half the bytes, weights rounded to 11 bits.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable results.")] = False,
) -> None:
    """Import a checkpoint of DS-Net's authors or of slimmable networks."""
    from dataclasses import replace

    from common import check_writable
    from train.importers.architectures import check_architecture, recognise
    from train.importers.read import read_published

    check_writable(out)
    check_architecture(arch)
    published = read_published(file, ema)
    found = recognise(file, published.tensors, arch)
    spec = replace(found.spec, name=name or found.spec.name, resolution=resolution)
    provenance = {
        "command": "import",
        "architecture": found.architecture,
        "source": {"name": file.name, "sha256": published.sha256},
        "ema": ema,
        "said": published.said,
    }
    write_checkpoint(out, spec, found.tensors, provenance, half, as_json)
