"""Recipes that must be refused, as changes to the golden one. A change of None as a value removes the field."""

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "golden"
RECIPE = (GOLDEN / "nested" / "recipe.json").read_bytes()
WITH_POSITIONS = (GOLDEN / "nested_positions" / "recipe.json").read_bytes()

Changes = dict[str, list[tuple[list[str | int], Any]]]
CHANGES: Changes = {
    "unknown_format": [(["format"], "cookbook")],
    "higher_major_version": [(["format"], "dsnet-recipe/3")],
    "tensor_outside_the_store": [(["tensors", 0, "shape"], [5, 2, 4000])],
    "tensor_unaligned": [(["tensors", 1, "offset"], 8)],
    "tensor_of_absurd_size": [(["tensors", 0, "shape"], [1 << 29, 1 << 29, 1 << 29])],
    "tensor_offset_that_overflows": [(["tensors", 0, "offset"], (1 << 63) - 64)],
    "tensor_of_unknown_type": [(["tensors", 0, "dtype"], "complex64")],
    "tensor_without_elements": [(["tensors", 0, "shape"], [0, 2, 4])],
    "tensor_of_two_dimensions": [(["tensors", 0, "shape"], [5, 8])],
    "store_of_another_size": [(["store_bytes"], 100)],
    "slice_of_no_tensor": [(["slices", 0, "tensor"], 17)],
    "slice_larger_than_its_tensor": [(["slices", 1, "shape"], [6, 2, 4])],
    "slice_of_negative_size": [(["slices", 1, "shape"], [-5, 2, 4])],
    "scale_without_axis": [(["slices", 0, "axis"], None)],
    "scale_on_the_middle_axis": [(["slices", 0, "axis"], 1)],
    "scale_that_is_no_tensor": [(["slices", 0, "scale"], 17)],
    "scale_that_is_too_short": [(["tensors", 1, "shape"], [1, 1, 2])],
    "scale_that_is_a_matrix": [(["slices", 0, "scale"], 0)],
    "scale_of_integers": [(["slices", 0, "scale"], 5)],
    "scaled_integers": [(["slices", 3, "scale"], 1), (["slices", 3, "axis"], 0)],
    "two_slices_of_one_key": [(["slices", 1, "key"], "bias"), (["slices", 2, "key"], "bias")],
    "key_that_is_a_path": [(["slices", 0, "key"], "../../etc/passwd")],
    "file_outside": [(["files", 0, "path"], "../plain.bin")],
    "file_of_no_slice": [(["files", 0, "pieces", 0], [16, 99])],
    "file_that_does_not_add_up": [(["files", 0, "bytes"], 417)],
    "file_with_too_few_literals": [(["files", 0, "pieces", 0], [1000, 0])],
    "file_beyond_the_template": [(["files", 0, "offset"], 40)],
    "file_of_negative_literals": [(["files", 0, "pieces", 0], [-1, 0])],
}  # fmt: skip
POSITION_CHANGES: Changes = {
    "positions_in_version_1": [(["format"], "dsnet-recipe/1")],
    "position_outside": [(["slices", 7, "positions"], [8, 0, 9])],
    "position_below_zero": [(["slices", 7, "positions"], [8, 0, -1])],
    "position_twice": [(["slices", 7, "positions"], [8, 0, 8])],
    "too_few_positions": [(["slices", 7, "positions"], [8, 0])],
    "no_positions": [(["slices", 7, "positions"], [])],
}


def write_recipes(folder: Path) -> None:
    """Write every malformed recipe to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for recipe, cases in ((RECIPE, CHANGES), (WITH_POSITIONS, POSITION_CHANGES)):
        for name, changes in cases.items():
            (folder / f"{name}.json").write_bytes(_changed(recipe, changes))
    (folder / "truncated.json").write_bytes(RECIPE[: len(RECIPE) // 2])
    (folder / "not_an_object.json").write_bytes(b"[]\n")


def _changed(recipe: bytes, changes: list[tuple[list[str | int], Any]]) -> bytes:
    fields = json.loads(recipe)
    for path, value in changes:
        parent = fields
        for part in path[:-1]:
            parent = parent[part]
        if value is None:
            del parent[path[-1]]
        else:
            parent[path[-1]] = value
    return (json.dumps(fields, indent=1) + "\n").encode()
