"""Golden nested weights: small enough to read, with every rule of docs/bundle.md, made by formula.

store.bin, recipe.json, template.bin   three tensors, vectors, slices with and without a scale, on both axes
plain.bin                              the file that the recipe's one template gives

`nested` has slices as version 1 knows them, `nested_positions` those that need version 2 besides.
"""

import json
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common import sha256_bytes
from edge.bundle.nested.recipe import ALIGNMENT, FORMAT, WITHOUT_POSITIONS

LITERALS = b"golden program: " + bytes(range(40)) + b" end"
CUTS = (16, 3, 0, 20, 0, 1, 2, 0, 5, 0)
"""Literal bytes before each slice; what is left comes last."""


def tensors() -> dict[str, NDArray[np.generic]]:
    """Return the stored tensors, [a, b, c] each."""
    return {
        "rows.weight": (np.arange(5 * 2 * 4, dtype=np.float32).reshape(5, 2, 4) - 7) / 3,
        "rows.scale": (np.arange(5, dtype=np.float32).reshape(1, 1, 5) + 1) / -7,
        "depthwise.weight": (np.arange(1 * 9 * 6, dtype=np.float32).reshape(1, 9, 6) - 20) / 11,
        "depthwise.scale": (np.arange(6, dtype=np.float32).reshape(1, 1, 6) + 2) / 13,
        "integers.weight": (np.arange(3 * 1 * 7).reshape(3, 1, 7) * 12 - 127).astype(np.int8),
        "bias": (np.arange(6, dtype=np.int32).reshape(1, 1, 6) - 3) * 1000,
    }


SliceOf = tuple[str, tuple[int, int, int], str | None, int | None, list[int] | None]
"""Tensor, range, scale, axis, positions."""
SLICES: list[SliceOf] = [
    ("rows.weight", (3, 2, 2), "rows.scale", 0, None),
    ("rows.weight", (5, 2, 4), None, None, None),
    ("depthwise.weight", (1, 9, 4), "depthwise.scale", 2, None),
    ("integers.weight", (2, 1, 5), None, None, None),
    ("bias", (1, 1, 4), None, None, None),
    ("rows.scale", (1, 1, 5), None, None, None),
]
GATHERED: list[SliceOf] = [
    ("depthwise.weight", (1, 9, 6), None, None, [1, 2, 3, 4, 0, 5, 6, 7, 8]),
    ("depthwise.weight", (1, 3, 5), "depthwise.scale", 2, [8, 0, 5]),
    ("rows.weight", (4, 2, 3), "rows.scale", 0, [1, 0]),
    ("rows.weight", (2, 1, 4), None, None, [1]),
]


def expected_slices(slices: list[SliceOf]) -> list[bytes]:
    """Return what every slice must be, computed without the reader."""
    there, found = tensors(), []
    for name, (a, b, c), scale, axis, positions in slices:
        values = there[name][:a, positions or range(b), :c].copy()
        if scale is not None and axis is not None:
            factors = there[scale].reshape(-1)
            for index in np.ndindex(a, b, c):
                values[index] = np.float32(values[index]) * np.float32(factors[index[axis]])
        found.append(values.tobytes())
    return found


def build(chosen: list[SliceOf]) -> dict[str, bytes]:
    """Return golden files with some slices, by name."""
    store, entries, numbers = bytearray(), [], {}
    for number, (name, values) in enumerate(tensors().items()):
        store += bytes(-len(store) % ALIGNMENT)
        numbers[name] = number
        shape = [int(size) for size in values.shape]
        entries.append({"name": name, "dtype": values.dtype.name, "shape": shape, "offset": len(store)})
        store += values.tobytes()
    slices, contents = [], expected_slices(chosen)
    for (name, shape, scale, axis, positions), content in zip(chosen, contents, strict=True):
        prefix = "scale_" if name == "rows.scale" else ""
        scaled = {} if scale is None else {"scale": numbers[scale], "axis": axis}
        key = prefix + sha256_bytes(content)
        gathered = {} if positions is None else {"positions": positions}
        slices.append({"key": key, "tensor": numbers[name], "shape": list(shape), **scaled, **gathered})
    plain, done, cuts = bytearray(), 0, CUTS[: len(contents)]
    for count, content in zip(cuts, contents, strict=True):
        plain += LITERALS[done : done + count] + content
        done += count
    plain += LITERALS[done:]
    compress = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
    template = compress.compress(LITERALS) + compress.flush()
    file = {
        "path": "plain.bin",
        "bytes": len(plain),
        "sha256": sha256_bytes(bytes(plain)),
        "offset": 0,
        "compressed_bytes": len(template),
        "literal_bytes": len(LITERALS),
        "pieces": [[count, number] for number, count in enumerate(cuts)],
    }
    recipe = {
        "format": FORMAT if any("positions" in entry for entry in slices) else WITHOUT_POSITIONS,
        "store_bytes": len(store),
        "template_bytes": len(template),
        "tensors": entries,
        "slices": slices,
        "files": [file],
    }
    return {
        "store.bin": bytes(store),
        "template.bin": template,
        "plain.bin": bytes(plain),
        "recipe.json": (json.dumps(recipe, indent=1) + "\n").encode(),
    }


def write_nested_weights(folder: Path) -> None:
    """Write the golden nested weights to folders below `folder`."""
    for part, slices in (("nested", SLICES), ("nested_positions", SLICES + GATHERED)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for name, data in build(slices).items():
            (folder / part / name).write_bytes(data)
