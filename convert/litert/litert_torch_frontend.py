"""Front end litert-torch: torch.export → StableHLO → LiteRT."""

import tempfile
from pathlib import Path

import torch

from convert.quiet import quiet
from convert.static_module import StaticProgram

with quiet():
    import litert_torch


def export(module: StaticProgram, shape: tuple[int, int, int, int]) -> bytes:
    """Return the module's float32 LiteRT file (see `convert.litert.frontend.Frontend`)."""
    images = [0] if module.output_names[0] == "features" else None
    with quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.tflite"
        channels_last = litert_torch.to_channel_last_io(module, args=[0], outputs=images).eval()
        exported = litert_torch.convert(channels_last, (torch.zeros(shape).permute(0, 2, 3, 1).contiguous(),))
        exported.export(str(path))
        return path.read_bytes()
