"""Which paths there are through the parts of a network with several gates."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.paths import all_paths, path_count

COUNTS = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@given(COUNTS, st.lists(st.none() | st.integers(0, 5), min_size=2, max_size=2))
def test_paths_are_those_whose_neighbours_are_in_reach_of_each_other(
    counts: list[int], limits: list[int | None]
) -> None:
    reaches = limits[: len(counts) - 1]
    expected = {
        path
        for path in product(*map(range, counts))
        if all(r is None or abs(a - b) <= r for a, b, r in zip(path, path[1:], reaches, strict=False))
    }
    found = all_paths(counts, reaches)
    assert set(found) == expected
    assert len(found) == path_count(counts, reaches) == len(expected)


@given(COUNTS)
def test_a_path_that_is_nowhere_wider_than_another_comes_before_it(counts: list[int]) -> None:
    paths = all_paths(counts, [None] * (len(counts) - 1))
    assert paths[0] == (0,) * len(counts)
    assert paths[-1] == tuple(count - 1 for count in counts)
    for number, path in enumerate(paths):
        later = paths[number + 1 :]
        assert not [other for other in later if all(a <= b for a, b in zip(other, path, strict=True))]


@pytest.mark.parametrize("count", [1, 14, 256])
def test_with_one_part_paths_and_widths_are_the_same(count: int) -> None:
    assert all_paths([count], []) == tuple((entry,) for entry in range(count))
