"""L-order: every width a prefix of one buffer, read back by LiteRT's own sparse tensors."""

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import BundleError
from edge.bundle.litert.block_places import expand
from edge.bundle.litert.nested_layout import NestedLayout, depthwise_sparsity


def weight_of(outs: int, ins: int, kernel: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-127, 128, (outs, kernel, kernel, ins)).astype(np.int8)


@st.composite
def levels(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    n = draw(st.integers(1, 4))
    multiples = st.lists(st.integers(1, 9), min_size=n, max_size=n).map(sorted)
    block_out, block_in = draw(st.sampled_from([4, 8, 16])), draw(st.sampled_from([4, 8, 32]))
    pairs = sorted(
        set(zip((block_out * m for m in draw(multiples)), (block_in * m for m in draw(multiples)), strict=True))
    )
    outs, ins = zip(*pairs, strict=True)
    return outs, ins


@given(levels=levels(), kernel=st.sampled_from([1, 3]))
@settings(max_examples=60, deadline=None)
def test_every_level_reads_its_range_from_its_prefix(
    levels: tuple[tuple[int, ...], tuple[int, ...]], kernel: int
) -> None:
    outs, ins = levels
    layout = NestedLayout("a layer", outs, ins)
    weight = weight_of(outs[-1], ins[-1], kernel)
    stored = layout.store(weight)
    for level, (o, i) in enumerate(zip(outs, ins, strict=True)):
        prefix = stored[: layout.size(level, kernel * kernel)]
        if layout.is_plain_prefix:
            found = prefix.reshape(o, kernel, kernel, i)
        else:
            found = expand(prefix, (o, kernel, kernel, i), layout.sparsity(level, kernel, kernel))
        assert np.array_equal(found, weight[:o, :, :, :i])


def test_a_depthwise_filter_is_stored_channel_major() -> None:
    payload = np.random.default_rng(0).integers(-127, 128, (24, 1, 3, 3)).astype(np.int8)
    for channels in (8, 24):
        found = expand(payload.reshape(-1)[: channels * 9], (1, 3, 3, channels), depthwise_sparsity(channels, 3, 3))
        assert np.array_equal(found[0], payload[:channels, 0].transpose(1, 2, 0))


@pytest.mark.parametrize(("outs", "ins", "side"), [((33, 48), (32, 48), "output"), ((32, 48), (31, 48), "input")])
def test_a_width_that_no_block_divides_is_refused_with_the_layers_name(
    outs: tuple[int, ...], ins: tuple[int, ...], side: str
) -> None:
    with pytest.raises(BundleError, match=rf"layer stages\.3\.1\.pointwise: .*{side} width"):
        NestedLayout("stages.3.1.pointwise", outs, ins)


def hostile(**changes: object):  # type: ignore[no-untyped-def]
    layout = NestedLayout("a layer", (8, 16), (8, 16))
    table = deepcopy(layout.sparsity(1, 1, 1))
    rows, columns = table.dimMetadata[:2]
    for name, values in changes.items():
        target = {
            "rows": rows.arrayIndices,
            "outer": rows.arraySegments,
            "columns": columns.arrayIndices,
            "segments": columns.arraySegments,
        }
        target[name].values = np.asarray(values)
    return layout.store(weight_of(16, 16)), table


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": [9, 0, 1]},
        {"rows": [-1, 0, 1]},
        {"columns": [0, 7, 0, 1]},
        {"columns": [0, 0, 0, 1]},
        {"columns": [0, 1]},
        {"outer": [0, 99]},
        {"outer": [0, 0]},
        {"segments": [0, 3, 2, 4]},
        {"segments": [0, 1]},
    ],
    ids=lambda changes: "-".join(f"{k}{v}" for k, v in changes.items()).replace(" ", ""),
)
def test_index_vectors_from_a_stranger_cannot_read_or_write_out_of_range(changes: dict[str, list[int]]) -> None:
    stored, table = hostile(**changes)
    with pytest.raises(BundleError, match=r"nested"):
        expand(stored, (16, 1, 1, 16), table)


def test_a_buffer_shorter_than_its_weight_is_refused() -> None:
    stored, table = hostile()
    with pytest.raises(BundleError, match=r"needs 256 values; its buffer has 255"):
        expand(stored[:-1], (16, 1, 1, 16), table)
    with pytest.raises(BundleError, match=r"needs"):
        expand(stored, (1 << 30, 1 << 30, 1, 16), table)
