"""An .mlpackage as its files, and what several packages of one conversion are called."""

import math
from collections.abc import Collection, Mapping
from typing import TypeAlias

import numpy as np

from edge.bundle.coreml.blobs import BLOB_TYPES, Blob
from edge.bundle.coreml.model_file import Constant, ModelFile, read_model
from edge.bundle.nested.weights import NestedWeights
from edge.errors import BundleError

ITEMS = "Manifest.json"
"""What else is in the package."""
MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
SUFFIX = ".mlpackage"

Package: TypeAlias = Mapping[str, bytes]
"""Content by path inside the package: ITEMS, MODEL and, where there are constants of ten elements or more, WEIGHTS."""


def output_feature(name: str, inputs: Collection[str]) -> str:
    """Return what packages call a program's output: Core ML does not let it have the name of an input, as a stage's
    features do."""
    return f"next_{name}" if name in inputs else name


def program_path(program: str, path: str) -> str:
    """Return what the recipe calls a file of the package with this program alone."""
    return f"{program}{SUFFIX}/{path}"


def rebuild(weights: NestedWeights, program: str) -> Package:
    """Return the package with one program, every file as it was converted, byte for byte."""
    paths = [path for path in (ITEMS, MODEL, WEIGHTS) if program_path(program, path) in weights.paths]
    if MODEL not in paths or ITEMS not in paths:
        raise BundleError(f"the recipe has no Core ML package for program {program}; copy the bundle again")
    return {path: weights.file(program_path(program, path)) for path in paths}


def model_of(package: Package) -> ModelFile:
    """Return what a package's model file says."""
    return read_model(package[MODEL])


def check_fits(constant: Constant, blob: Blob) -> None:
    """Raise a BundleError unless a constant of weight.bin is of the type and shape that the program says."""
    if BLOB_TYPES.get(constant.dtype) != blob.type:
        raise BundleError(f"a {constant.dtype} constant lies in weight.bin as type {blob.type}")
    expected = math.prod(constant.shape) * np.dtype(constant.dtype).itemsize
    if len(blob.data) != expected:
        raise BundleError(
            f"a {constant.dtype} constant {list(constant.shape)} has {len(blob.data)} bytes in weight.bin"
        )
