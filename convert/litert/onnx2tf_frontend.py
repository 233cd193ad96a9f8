"""Front end onnx2tf: torch → ONNX → TensorFlow → LiteRT."""

import contextlib
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from convert.quiet import quiet
from convert.static_module import StaticProgram

RECURSION_LIMIT = sys.getrecursionlimit()
with quiet():
    import onnx2tf
# Importing it lifts the limit; deeply nested JSON from a stranger would then overflow the C stack of the process.
sys.setrecursionlimit(RECURSION_LIMIT)

OPSET = 17
# onnx2tf reads this file from the working directory or else downloads it: conversion must never touch the network.
SAMPLE_IMAGES = "calibration_image_sample_data_20x128x128x3_float32.npy"


def export(module: StaticProgram, shape: tuple[int, int, int, int]) -> bytes:
    """Return the module's float32 LiteRT file (see `convert.litert.frontend.Frontend`)."""
    with tempfile.TemporaryDirectory() as name, quiet():
        folder = Path(name)
        np.save(folder / SAMPLE_IMAGES, np.zeros((20, 128, 128, 3), np.float32))
        torch.onnx.export(
            module, (torch.zeros(shape),), str(folder / "program.onnx"), opset_version=OPSET, dynamo=False,
            input_names=["input"], output_names=[f"output_{number}" for number in range(len(module.output_names))],
        )  # fmt: skip
        with contextlib.chdir(folder):
            onnx2tf.convert(
                input_onnx_file_path="program.onnx",
                output_folder_path="out",
                non_verbose=True,
                copy_onnx_input_output_names_to_tflite=True,
                # An export archive instead of a SavedModel, which would spell out every weight as JSON: 6 s, not 47 s.
                output_signaturedefs=True,
            )
        return (folder / "out" / "program_float32.tflite").read_bytes()
