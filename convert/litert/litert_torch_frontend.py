"""Front end litert-torch: torch.export → StableHLO → LiteRT."""

import tempfile
from pathlib import Path

import litert_torch
import torch

from convert.static_module import StaticProgram


def export(module: StaticProgram, shape: tuple[int, int, int, int]) -> bytes:
    """Return the module's float32 LiteRT file (see `convert.litert.frontend.Frontend`)."""
    images = [0] if module.role == "prefix" else None
    channels_last = litert_torch.to_channel_last_io(module, args=[0], outputs=images).eval()
    exported = litert_torch.convert(channels_last, (torch.zeros(shape).permute(0, 2, 3, 1).contiguous(),))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.tflite"
        exported.export(str(path))
        return path.read_bytes()
