"""Trees of thresholds as a manifest holds them: bounds before anything is built, and gates and paths that fit."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from edge.bundle.checks import operating_point_problems
from edge.bundle.manifest import Gate, Manifest, TreePolicy, Width
from tests.runtime import golden

PATHS = [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]


def tree(widths: list[int], *following: object, thresholds: list[float] | None = None) -> dict[str, Any]:
    return {"kind": "tree", "widths": widths, "root": node(*following, thresholds=thresholds)}


def node(*following: object, thresholds: list[float] | None = None) -> dict[str, Any]:
    return {"thresholds": thresholds or [0.5 + at for at in range(len(following) - 1)], "next": list(following)}


def deep(levels: int) -> object:
    found: object = 0
    for _ in range(levels):
        found = node(found)
    return found


def problems(policy: dict[str, Any], gates: int = 2) -> list[str]:
    """Return what is wrong with a policy in a bundle of five widths and so many gates (2 or 1)."""
    manifest = golden.bundle().manifest
    widths = [
        Width(index=index, name=str(index), path=path if gates == 2 else [index], channels=[8], macs=1, params=1)
        for index, path in enumerate(PATHS)
    ]
    trunk = [Gate(kind="trunk", choices=[0, 1]) for _ in range(gates)]
    changed: Manifest = manifest.model_copy(update={"widths": widths, "gates": trunk, "artifacts": []})
    fields = {"policy": TreePolicy.model_validate(policy), "shares": []}
    return list(operating_point_problems(changed, manifest.operating_points[0].model_copy(update=fields)))


def test_a_tree_over_the_paths_of_a_bundle_is_in_order_and_survives_json() -> None:
    policy = tree([0, 1, 2, 4], node(0, 1), node(2, 4))
    assert problems(policy) == []
    assert TreePolicy.model_validate(policy).model_dump(mode="json") == policy
    assert problems(tree([1, 2, 3], 1, node(2, 3))) == [], "a width may answer at any node"
    assert problems(tree([0, 4], 0, 4), gates=1) == []


@pytest.mark.parametrize(
    ("policy", "gates", "problem"),
    [
        (tree([0, 2], node(0, 2)), 2, "widths [0, 2] go on together after gate 1, where their programs differ"),
        (tree([0, 1, 4], node(0, 1), node(4, node(4))), 2, "a tree that asks 3 gates; the bundle has 2"),
        (tree([0, 1], node(0), 1), 1, "a tree that asks 2 gates; the bundle has 1"),
        (tree([0, 7], 0, 7), 2, "width 7; valid: 0…4"),
    ],
)
def test_a_tree_that_the_gates_or_paths_do_not_allow_is_one_clause(
    policy: dict[str, Any], gates: int, problem: str
) -> None:
    assert problems(policy, gates) == [problem]


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (tree([0, 1], 0, 1, thresholds=[0.5, 0.75]), "2 ways on need 1 thresholds, found 2"),
        (tree([0, 1, 2], 0, 1, 2, thresholds=[0.75, 0.5]), "thresholds must not decrease"),
        (tree([0, 1], 0), "widths [0, 1] are not those that the tree ends with, [0]"),
        (tree([0]), "at least 1 item"),
        (tree([0, 1], 0, "wide"), "valid integer"),
        (tree([0, 1], 0, float("nan")), "valid integer"),
        (tree([0], deep(8)), "at most 8 nodes lie on one another"),
        (tree([0], deep(5000)), "at most 8 nodes lie on one another"),
        (tree([0], *[0] * 257), "at most 8 nodes lie on one another, with at most 256 widths"),
        ({"kind": "tree", "widths": [0], "root": 0}, "valid dictionary"),
    ],
)
def test_what_is_no_tree_is_refused(policy: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(problem)):
        TreePolicy.model_validate(policy)


def test_the_deepest_and_the_widest_tree_are_read() -> None:
    assert TreePolicy.model_validate(tree([0], deep(7))).root.depth == 8
    assert len(TreePolicy.model_validate(tree(list(range(256)), *range(256))).root.leaves) == 256
