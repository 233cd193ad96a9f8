"""A small store, recipe and template, written by hand as docs/bundle.md says, and ways to change them."""

import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from common import sha256_bytes
from edge.bundle.nested.recipe import WITHOUT_POSITIONS
from edge.bundle.nested.weights import NestedWeights, parse_recipe

WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7
HALF = np.array([[[1.999, 1 / 3, 6.1]], [[0.5, -2, 100]]], np.float16)
SCALE = np.array([1.0004, -3.3, 7.7], np.float32)
INTEGERS = np.arange(-4, 4, dtype=np.int8)

Change = Callable[[dict[str, Any]], None]


def store() -> bytes:
    """Return the four tensors, each at a multiple of 64 bytes."""
    data = b""
    for values in (WEIGHT, HALF, SCALE, INTEGERS):
        data += bytes(-len(data) % 64) + values.tobytes()
    return data


def fields() -> dict[str, Any]:
    """Return the recipe's fields: five slices of four tensors, and one file."""
    literals = b"headmiddleend"
    cut = WEIGHT[:1, :, :2].tobytes()
    plain = b"head" + cut + b"middle" + INTEGERS.tobytes() + b"end"
    return {
        "format": WITHOUT_POSITIONS,
        "store_bytes": len(store()),
        "template_bytes": len(stream(literals)),
        "tensors": [
            {"name": "weight", "dtype": "float32", "shape": [2, 3, 4], "offset": 0},
            {"name": "half", "dtype": "float16", "shape": [2, 1, 3], "offset": 128},
            {"name": "scale", "dtype": "float32", "shape": [1, 1, 3], "offset": 192},
            {"name": "integers", "dtype": "int8", "shape": [1, 1, 8], "offset": 256},
        ],
        "slices": [
            {"key": "cut", "tensor": 0, "shape": [1, 3, 2]},
            {"key": "scaled_rows", "tensor": 0, "shape": [2, 1, 4], "scale": 2, "axis": 0},
            {"key": "scaled_columns", "tensor": 1, "shape": [1, 1, 3], "scale": 2, "axis": 2, "cast": "float16"},
            {"key": "rounded", "tensor": 0, "shape": [1, 1, 4], "cast": "float16"},
            {"key": "whole", "tensor": 3, "shape": [1, 1, 8]},
        ],
        "files": [
            {
                "path": "folder/plain.bin",
                "bytes": len(plain),
                "sha256": sha256_bytes(plain),
                "offset": 0,
                "compressed_bytes": len(stream(literals)),
                "literal_bytes": len(literals),
                "pieces": [[4, 0], [6, 4]],
            }
        ],
    }


def stream(literals: bytes) -> bytes:
    """Return a stream of raw DEFLATE."""
    compress = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compress.compress(literals) + compress.flush()


def opened(change: Change = lambda _: None, template: bytes | None = None) -> NestedWeights:
    """Return the nested weights after a change of the recipe's fields."""
    changed = fields()
    change(changed)
    recipe = parse_recipe(json.dumps(changed).encode(), "recipe.json")
    return NestedWeights(recipe, store(), stream(b"headmiddleend") if template is None else template)
