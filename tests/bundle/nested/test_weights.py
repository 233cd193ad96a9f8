"""What a recipe cuts from a store, against NumPy; what it rebuilds, against the bytes; and every recipe to refuse."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import sha256_bytes
from edge import BundleError
from edge.bundle.nested.recipe import FORMAT
from edge.bundle.nested.weights import NestedWeights, parse_recipe
from tests.bundle.nested.small import HALF, INTEGERS, SCALE, WEIGHT, Change, fields, opened, store, stream


def test_a_slice_is_a_range_of_every_axis_without_gaps() -> None:
    assert opened().slice(0) == WEIGHT[:1, :3, :2].tobytes()


def test_a_scale_multiplies_in_float32() -> None:
    assert opened().slice(1) == (WEIGHT[:2, :1] * SCALE[:2, None, None]).tobytes()


def test_a_float16_tensor_is_scaled_in_float32_and_rounded_once() -> None:
    expected = (HALF[:1].astype(np.float32) * SCALE).astype(np.float16)
    assert opened().slice(2) == expected.tobytes()
    assert (expected != HALF[:1] * SCALE.astype(np.float16)).any(), "rounding twice should give something else here"


def test_without_a_cast_a_scaled_float16_tensor_is_float32() -> None:
    weights = opened(lambda recipe: recipe["slices"][2].pop("cast"))
    assert weights.slice(2) == (HALF[:1].astype(np.float32) * SCALE).tobytes()
    assert weights.recipe.slice_bytes(2) == 12


def test_a_cast_rounds_ties_to_even_keeps_subnormals_and_overflows_to_infinity() -> None:
    smallest = 2.0**-24
    values = np.array([2049.0, 2051.0, 1.5 * smallest, 2.5 * smallest, smallest / 2, 65520.0, -70000.0], np.float32)
    expected = np.array([2048.0, 2052.0, 2 * smallest, 2 * smallest, 0.0, np.inf, -np.inf], np.float16)

    recipe = {
        "format": FORMAT,
        "store_bytes": values.nbytes,
        "template_bytes": 1,
        "tensors": [{"name": "values", "dtype": "float32", "shape": [1, 1, 7], "offset": 0}],
        "slices": [{"key": "rounded", "tensor": 0, "shape": [1, 1, 7], "cast": "float16"}],
        "files": [],
    }
    weights = NestedWeights(parse_recipe(json.dumps(recipe).encode(), "recipe.json"), values.tobytes(), b"0")
    assert weights.slice(0) == expected.tobytes(), np.frombuffer(weights.slice(0), np.float16)


def gathered(*positions: int, index: int = 0, **fields: Any) -> Change:
    """Return a change that gives a slice of the first tensor these positions, in a recipe of version 2."""

    def change(recipe: dict[str, Any]) -> None:
        recipe["format"] = FORMAT
        recipe["slices"][index] |= {"positions": list(positions), **fields}

    return change


def test_positions_say_which_of_the_tensors_each_of_a_slices_is() -> None:
    assert opened(gathered(2, 0, 1)).slice(0) == WEIGHT[:1, [2, 0, 1], :2].tobytes()
    assert opened(gathered(2, index=1)).slice(1) == (WEIGHT[:, 2:] * SCALE[:2, None, None]).tobytes()


def test_positions_go_with_a_scale_and_a_cast() -> None:
    fields = {"shape": [2, 2, 3], "scale": 2, "axis": 2, "cast": "float16"}
    expected = (WEIGHT[:, [1, 0], :3] * SCALE).astype(np.float16)
    assert opened(gathered(1, 0, index=3, **fields)).slice(3) == expected.tobytes()


@pytest.mark.parametrize("folder", ["nested", "nested_positions"])
def test_the_golden_files_are_rebuilt_and_every_slice_is_what_its_key_says(golden: Path, folder: str) -> None:
    store, template, recipe, plain = (
        (golden / folder / name).read_bytes() for name in ("store.bin", "template.bin", "recipe.json", "plain.bin")
    )
    weights = NestedWeights(parse_recipe(recipe, "recipe.json"), store, template)
    assert weights.file("plain.bin") == plain
    wrong = [key for key, index in weights.keys.items() if sha256_bytes(weights.slice(index)) != key[-64:]]
    assert wrong == []


def test_a_file_is_its_literals_with_slices_between() -> None:
    assert opened().file("folder/plain.bin") == (
        b"head" + WEIGHT[:1, :, :2].tobytes() + b"middle" + INTEGERS.tobytes() + b"end"
    )


def test_a_file_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(BundleError, match=r"no file other\.bin in this recipe; it has folder/plain\.bin"):
        opened().file("other.bin")


def test_a_file_that_is_not_what_was_converted_is_refused() -> None:
    with pytest.raises(BundleError, match="not the one that was converted"):
        opened(template=stream(b"HEADmiddleend")).file("folder/plain.bin")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (stream(b"headmiddle")[:-1] + b"\x00\x00", "template"),
        (b"\xff" * len(stream(b"headmiddleend")), "its template is damaged"),
    ],
)
def test_a_damaged_template_is_refused(template: bytes, message: str) -> None:
    padded = template.ljust(len(stream(b"headmiddleend")), b"\0")[: len(stream(b"headmiddleend"))]
    with pytest.raises(BundleError, match=message):
        opened(template=padded).file("folder/plain.bin")


def test_a_store_or_template_of_another_size_is_refused() -> None:
    recipe = opened().recipe
    with pytest.raises(BundleError, match=r"a store of 264 bytes, not 263"):
        NestedWeights(recipe, store()[:-1], stream(b"headmiddleend"))
    with pytest.raises(BundleError, match="a template of"):
        NestedWeights(recipe, store(), b"")


def set_in(part: str, index: int, **values: Any) -> Change:
    """Return a change of one entry; None removes a field."""

    def change(recipe: dict[str, Any]) -> None:
        for name, value in values.items():
            if value is None:
                recipe[part][index].pop(name, None)
            else:
                recipe[part][index][name] = value

    return change


def repeat_file(path: str) -> Change:
    def change(recipe: dict[str, Any]) -> None:
        recipe["files"].append({**recipe["files"][0], "path": path})

    return change


MALFORMED = {
    "a tensor that ends after the store": (set_in("tensors", 3, shape=[1, 1, 9]), "tensor 3 is not aligned"),
    "a tensor at an odd place": (set_in("tensors", 3, offset=250), "tensor 3 is not aligned"),
    "positions in version 1": (set_in("slices", 0, positions=[0, 1, 2]), "slice 0: positions, which dsnet-recipe/1"),
    "a position outside": (gathered(0, 1, 3), "slice 0: its positions are not 3 different ones of 3"),
    "a position twice": (gathered(0, 1, 1), "slice 0: its positions are not 3 different ones of 3"),
    "a negative position": (gathered(0, 1, -1), "greater than or equal to 0"),
    "a position too many": (gathered(0, 1, index=1), "slice 1: its positions are not 1 different ones"),
    "no positions": (gathered(), "its positions are not 3 different ones"),
    "an unknown type": (set_in("tensors", 0, dtype="bfloat16"), "float32"),
    "a size of 2^62": (set_in("tensors", 0, shape=[1 << 62, 1, 1]), "less than"),
    "a size of nothing": (set_in("tensors", 0, shape=[0, 3, 4]), "greater than or equal to 1"),
    "two sizes": (set_in("tensors", 0, shape=[2, 12]), "at least 3"),
    "a size as text": (set_in("tensors", 0, shape=["2", 3, 4]), "valid integer"),
    "a slice wider than its tensor": (set_in("slices", 0, shape=[1, 3, 5]), r"slice 0: takes \[1, 3, 5\]"),
    "a slice of no tensor": (set_in("slices", 0, tensor=4), "slice 0: no tensor 4"),
    "a slice of tensor −1": (set_in("slices", 0, tensor=-1), "greater than or equal to 0"),
    "a scale without an axis": (set_in("slices", 1, axis=None), "scale and axis go together"),
    "an axis without a scale": (set_in("slices", 1, scale=None), "scale and axis go together"),
    "axis 1": (set_in("slices", 1, axis=1), "0 or 2"),
    "a scale that is no tensor": (set_in("slices", 1, scale=9), "slice 1: no tensor 9"),
    "a scale of float16": (set_in("slices", 1, scale=1), "a float16 scale for a float32 tensor"),
    "a scale for integers": (set_in("slices", 4, scale=2, axis=0), "a float32 scale for a int8 tensor"),
    "a scale that is too short": (set_in("slices", 3, scale=2, axis=2), "a scale of shape .* for 4 elements"),
    "a scale of several rows": (set_in("slices", 1, scale=0), r"a scale of shape \[2, 3, 4\]"),
    "a cast to float64": (set_in("slices", 3, cast="float64"), "float16"),
    "a cast of float16": (set_in("slices", 2, scale=None, axis=None), "a cast to float16 of what is float16"),
    "a cast of integers": (set_in("slices", 4, cast="float16"), "a cast to float16 of what is int8"),
    "a cast that changes a file's size": (set_in("slices", 0, cast="float16"), "do not add up"),
    "two slices of one key": (set_in("slices", 1, key="cut"), "two slices have one key"),
    "a key that is a path": (set_in("slices", 1, key="../cut"), "pattern"),
    "a file that leaves its folder": (set_in("files", 0, path="../plain.bin"), "must stay inside"),
    "an absolute file": (set_in("files", 0, path="/plain.bin"), "must be relative"),
    "a file twice": (repeat_file("folder/plain.bin"), "two files have one path"),
    "a file in a file": (repeat_file("folder/plain.bin/inner"), "another's folder"),
    "a file outside the template": (set_in("files", 0, offset=5), "lies outside a template"),
    "a piece of no slice": (set_in("files", 0, pieces=[[4, 5]]), "no slice 5"),
    "a piece of three numbers": (set_in("files", 0, pieces=[[4, 0, 0]]), "at most 2"),
    "more literals than there are": (set_in("files", 0, pieces=[[10, 0], [6, 4]]), "need more than 13 literal bytes"),
    "sizes that do not add up": (set_in("files", 0, bytes=46), "do not add up to 46 bytes"),
}


@pytest.mark.parametrize(("change", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_recipe_is_refused_in_one_line(change: Change, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        opened(change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"format": "dsnet-recipe/3"}', b"\xff", b"[" * 100_000])
def test_what_is_no_recipe_is_refused_in_one_line(text: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        parse_recipe(text, "recipe.json")
    assert "\n" not in str(caught.value)


@given(positions=st.lists(st.integers(-1, 4), max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_positions_give_the_slice_or_a_bundle_error(positions: list[int]) -> None:
    try:
        assert opened(gathered(*positions)).slice(0) == WEIGHT[:1, positions, :2].tobytes()
    except BundleError as error:
        assert sorted(positions) != [0, 1, 2], error


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_changed_number_gives_the_file_or_a_bundle_error(data: st.DataObject) -> None:
    recipe = fields()
    part = recipe[data.draw(st.sampled_from(["tensors", "slices", "files"]))]
    entry = part[data.draw(st.integers(0, len(part) - 1))]
    name = data.draw(st.sampled_from(sorted(key for key, value in entry.items() if isinstance(value, int))))
    entry[name] = data.draw(st.integers(-2, 1 << 40))
    try:
        weights = NestedWeights(
            parse_recipe(json.dumps(recipe).encode(), "recipe.json"), store(), stream(b"headmiddleend")
        )
        for index in range(len(weights.recipe.slices)):
            assert len(weights.slice(index)) == weights.recipe.slice_bytes(index)
        weights.file("folder/plain.bin")
    except BundleError as error:
        assert "\n" not in str(error)
