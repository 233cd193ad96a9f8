"""Whatever happened to a file's bytes, reading and hydrating it gives programs or a BundleError, and nothing else."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import BundleError
from edge.bundle.litert.flatbuffer import read
from edge.bundle.litert.hydrate import densified, fuse, hydrate, hydrate_monolithic
from edge.bundle.litert.soundness import check_sound
from tests.bundle.litert.golden_file import artifact, content

SIZE = len(content())
PROGRAMS = ("prefix", "tail_01")
ROOTS = [program.root_offset for program in artifact().programs if program.root_offset is not None]
PLACES = st.one_of(st.integers(0, SIZE - 1), st.integers(min(ROOTS), max(ROOTS) + 200))
"""Half of the places lie among the tables: weights may hold any byte."""


def use(data: bytes) -> None:
    """Do everything that can be done with a file of a stranger, short of running it."""
    with suppress(BundleError):
        file = read(data)
        for program in file.programs:
            with suppress(BundleError):
                densified(file, program.name)
        with suppress(BundleError):
            fuse(file.program("prefix"), file.program("tail_01"), "net_01")
        check_sound(file)
        plain = read(hydrate(data, PROGRAMS))
        check_sound(plain)
    with suppress(BundleError):
        check_sound(read(hydrate_monolithic(data, PROGRAMS, "net_01")))


@given(flips=st.lists(st.tuples(PLACES, st.integers(1, 255)), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_changed_bytes_raise_nothing_but_a_bundle_error(flips: list[tuple[int, int]]) -> None:
    data = bytearray(content())
    for place, mask in flips:
        data[place] ^= mask
    use(bytes(data))


@given(kept=st.integers(0, SIZE - 1))
@settings(max_examples=20, deadline=None)
def test_a_cut_file_raises_nothing_but_a_bundle_error(kept: int) -> None:
    use(content()[:kept])


@given(root=st.integers(0, SIZE))
@settings(max_examples=40, deadline=None)
def test_a_root_anywhere_raises_nothing_but_a_bundle_error(root: int) -> None:
    use(root.to_bytes(4, "little") + content()[4:])


def test_parts_that_contradict_each_other_raise_nothing_but_a_bundle_error() -> None:
    file = read(content())
    file.program("tail_01").graph.operators[0].inputs = np.array([99], np.int32)
    file.program("tail_00").graph.operators[1].inputs = None
    for name in ("tail_00", "tail_01"):
        with pytest.raises(BundleError, match="parts do not hold together"):
            densified(file, name)
        with pytest.raises(BundleError, match="parts do not hold together"):
            fuse(file.program("prefix"), file.program(name), "net")


def test_a_program_that_is_not_there_is_a_bundle_error_with_those_that_are() -> None:
    with pytest.raises(BundleError, match="no program 'tail_07' in this LiteRT file; it has: prefix, tail_00, tail_01"):
        densified(read(content()), "tail_07")
    with pytest.raises(BundleError, match="no program 'tail_07'"):
        hydrate(content(), ["tail_07"])


def test_only_the_constants_of_the_programs_asked_for_are_looked_at() -> None:
    """A file with many widths opens one of them at a time."""
    whole, one = (
        sum(constant.size > 0 for constant in file.constants.data)
        for file in (read(content()), read(content(), ["tail_00"]))
    )
    assert 0 < one < whole, (one, whole)
