"""Nested LiteRT files with fewer programs, against the file they come from."""

from itertools import combinations

import pytest

from edge import BundleError
from edge.bundle.litert.flatbuffer import read
from edge.bundle.litert.hydrate import hydrate_program
from edge.bundle.litert.restrict import restrict
from tests.bundle.litert.golden_file import artifact, content

NAMES = ("prefix", "tail_00", "tail_01")
SUBSETS = [subset for count in (1, 2, 3) for subset in combinations(NAMES, count)]


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_the_programs_that_are_left_hydrate_to_the_same_bytes(names: tuple[str, ...]) -> None:
    data, programs = restrict(content(), [program for program in artifact().programs if program.name in names])
    assert [program.name for program in programs] == list(names)
    assert sorted(program.name for program in read(data).programs) == sorted(names)
    for name in names:
        assert hydrate_program(data, name) == hydrate_program(content(), name)


def test_with_every_program_the_file_stays_as_it_is() -> None:
    data, programs = restrict(content(), artifact().programs)
    assert (data == content(), programs) == (True, artifact().programs)


def test_a_narrow_width_takes_less_than_a_wide_one_and_both_less_than_the_two_apart() -> None:
    size = {
        names: len(restrict(content(), [program for program in artifact().programs if program.name in names])[0])
        for names in SUBSETS
    }
    assert size["tail_00",] < size["tail_01",] < size["tail_00", "tail_01"] < size["tail_00",] + size["tail_01",]


def test_a_program_that_is_not_there_is_refused_with_those_that_are() -> None:
    stranger = artifact().programs[1].model_copy(update={"name": "tail_09", "width": 9})
    with pytest.raises(BundleError, match="no program 'tail_09' in this LiteRT file; it has: prefix, tail_00, tail_01"):
        restrict(content(), [stranger])


def test_bytes_that_are_no_litert_file_are_refused() -> None:
    with pytest.raises(BundleError, match="not a LiteRT file"):
        restrict(bytes(5600), artifact().programs)
