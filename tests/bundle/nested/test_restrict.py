"""Stores, recipes and templates for some of the plain files, against those they come from."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from edge.bundle import open_bundle
from edge.bundle.nested.recipe import FORMAT, WITHOUT_POSITIONS
from edge.bundle.nested.restrict import restrict
from edge.bundle.nested.weights import NestedWeights, open_nested_weights, parse_recipe
from tests.bundle.nested.small import INTEGERS, WEIGHT, opened
from tests.native.data import NETWORKS

FILES = ("prefix.pte", "tail_00.pte", "tail_01.pte")
SUBSETS = [subset for count in (1, 2, 3) for subset in combinations(FILES, count)]


@pytest.fixture(params=["first-fp32", "first-int8", "kernels-fp32", "kernels-int8"])
def weights(request: pytest.FixtureRequest) -> NestedWeights:
    """Return the weights of a small ExecuTorch artifact."""
    network, precision = request.param.split("-")
    bundle = open_bundle(NETWORKS / network)
    return open_nested_weights(bundle, bundle.artifact("executorch", precision))


def read_back(weights: NestedWeights) -> NestedWeights:
    """Return them as a reader of the written files gets them, its checks passed."""
    return NestedWeights(parse_recipe(weights.recipe.to_json(), "recipe.json"), weights.store, weights.template)


@pytest.mark.parametrize("paths", SUBSETS, ids="+".join)
def test_the_files_that_are_left_and_their_constants_are_the_same_bytes(
    weights: NestedWeights, paths: tuple[str, ...]
) -> None:
    smaller = read_back(restrict(weights, paths))
    assert smaller.paths == list(paths)
    assert smaller.constants(paths) == weights.constants(paths)
    for path in paths:
        assert smaller.file(path) == weights.file(path)


def test_with_every_file_nothing_changes(weights: NestedWeights) -> None:
    assert restrict(weights, weights.paths) == weights


def test_a_tensor_is_cut_to_the_widest_range_that_is_left() -> None:
    smaller = restrict(opened(), ["folder/plain.bin"])
    assert [tensor.name for tensor in smaller.recipe.tensors] == ["weight", "integers"]
    assert smaller.tensor(0).tolist() == WEIGHT[:1, :, :2].tolist()
    assert smaller.store == WEIGHT[:1, :, :2].tobytes() + bytes(64 - 24) + INTEGERS.tobytes()
    assert read_back(smaller).file("folder/plain.bin") == opened().file("folder/plain.bin")


def test_a_tensor_is_cut_behind_the_last_position_that_is_left() -> None:
    def gathered(recipe: dict[str, Any]) -> None:
        recipe["format"] = FORMAT
        recipe["slices"][0] |= {"shape": [1, 2, 3], "positions": [1, 0]}

    smaller = read_back(restrict(opened(gathered), ["folder/plain.bin"]))
    assert smaller.recipe.tensors[0].shape == [1, 2, 3]
    assert smaller.slice(0) == WEIGHT[:1, [1, 0], :3].tobytes()


def test_widths_of_the_smallest_kernel_alone_need_no_positions_and_no_new_reader() -> None:
    bundle = open_bundle(NETWORKS / "kernels")
    whole = open_nested_weights(bundle, bundle.artifact("executorch", "fp32"))
    narrow, wide = (restrict(whole, ["prefix.pte", f"tail_{width:02d}.pte"]).recipe for width in (0, 1))
    assert [recipe.format for recipe in (whole.recipe, narrow, wide)] == [FORMAT, WITHOUT_POSITIONS, FORMAT]


def test_a_scale_is_cut_to_what_its_slices_use_of_it() -> None:
    def scaled(recipe: dict[str, Any]) -> None:
        recipe["files"][0] |= {"pieces": [[4, 1], [6, 4]], "bytes": 13 + 32 + 8}

    smaller = read_back(restrict(opened(scaled), ["folder/plain.bin"]))
    assert [tensor.shape for tensor in smaller.recipe.tensors] == [[2, 1, 4], [1, 1, 2], [1, 1, 8]]
    assert smaller.slice(0) == opened().slice(1)
    assert np.frombuffer(smaller.slice(1), np.int8).tolist() == INTEGERS.tolist()
