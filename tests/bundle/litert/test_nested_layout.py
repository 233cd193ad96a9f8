"""L-order: every width a prefix of one buffer, read back by LiteRT's own sparse tensors."""

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import BundleError
from edge.bundle.litert.block_places import expand
from edge.bundle.litert.nested_layout import DepthwiseLayout, NestedLayout, depthwise_sparsity


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


@st.composite
def depthwise_levels(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    n, block = draw(st.integers(1, 5)), draw(st.sampled_from([4, 8, 24]))
    channels = draw(st.lists(st.integers(1, 6), min_size=n, max_size=n).map(sorted))
    kernels = draw(st.lists(st.sampled_from([1, 3, 5, 7]), min_size=n, max_size=n).map(sorted))
    pairs = sorted({(block * count, kernel) for count, kernel in zip(channels, kernels, strict=True)})
    return tuple(c for c, _ in pairs), tuple(k for _, k in pairs)


@given(levels=depthwise_levels())
@settings(max_examples=60, deadline=None)
def test_every_level_of_channels_and_kernels_reads_the_centre_from_its_prefix(
    levels: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    channels, kernels = levels
    layout = DepthwiseLayout("a layer", channels, kernels)
    weight = weight_of(channels[-1], 1, kernels[-1]).transpose(0, 3, 1, 2)
    stored = layout.store(weight)
    assert stored.size == weight.size
    for level, (c, k) in enumerate(zip(channels, kernels, strict=True)):
        ring = (kernels[-1] - k) // 2
        centre = weight[:c, 0, ring : ring + k, ring : ring + k].transpose(1, 2, 0)
        found = expand(stored[: layout.size(level)], (1, k, k, c), layout.sparsity(level))
        assert np.array_equal(found[0], centre)


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


def hostile_kernels(dimension: int, side: str, values: list[int] | None) -> tuple[np.ndarray, object]:
    """Return a sparsity table that slices kernels, with one vector of numbers changed, or the dimension made dense."""
    layout = DepthwiseLayout("a layer", (4, 8), (1, 3))
    table = deepcopy(layout.sparsity(1))
    if values is None:
        table.dimMetadata[dimension].format, table.dimMetadata[dimension].denseSize = 0, 2
    else:
        getattr(table.dimMetadata[dimension], side).values = np.asarray(values)
    return layout.store(weight_of(8, 1, 3).transpose(0, 3, 1, 2)), table


ROWS, COLUMNS = [1, 0, 1, 2, 0, 1, 2], [1, 0, 1, 2, 0, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("dimension", "side", "values"),
    [
        (1, "arrayIndices", [0, 0, 2]),
        (1, "arrayIndices", [0, 0, 0]),
        (1, "arrayIndices", [0, 0]),
        (1, "arraySegments", [0, 99]),
        (1, "arraySegments", [1, 3]),
        (2, "arrayIndices", [3, *ROWS[1:]]),
        (2, "arrayIndices", [-1, *ROWS[1:]]),
        (2, "arraySegments", [0, 1, 4]),
        (2, "arraySegments", [0, 4, 1, 7]),
        (2, "arraySegments", [0, 1, 4, 2**31 - 1]),
        (3, "arrayIndices", [*COLUMNS[:-1], 3]),
        (3, "arrayIndices", [*COLUMNS[:-1], 1]),
        (3, "arrayIndices", COLUMNS[:-1]),
        (3, "arraySegments", [0, 1, 4, 6, 9, 12, 15, 17]),
        (1, "", None),
        (2, "", None),
        (3, "", None),
    ],
)
def test_rows_and_columns_of_kernels_from_a_stranger_cannot_read_or_write_out_of_range(
    dimension: int, side: str, values: list[int] | None
) -> None:
    stored, table = hostile_kernels(dimension, side, values)
    with pytest.raises(BundleError, match=r"nested"):
        expand(stored, (1, 3, 3, 8), table)


@pytest.mark.parametrize(
    ("shape", "block"), [((1, 3, 3, 8), 3), ((1, 3, 3, 8), 0), ((1, 3, 3, 4), 8), ((2, 3, 3, 4), 4), ((1, 3, 3, 8), 2)]
)
def test_a_channel_block_that_does_not_fit_is_refused(shape: tuple[int, ...], block: int) -> None:
    stored, table = hostile_kernels(1, "arrayIndices", [0, 0, 1])
    table.dimMetadata[4].denseSize = block  # type: ignore[attr-defined]
    with pytest.raises(BundleError, match=r"nested"):
        expand(stored, shape, table)


def test_a_buffer_shorter_than_its_weight_is_refused() -> None:
    stored, table = hostile()
    with pytest.raises(BundleError, match=r"needs 256 values; its buffer has 255"):
        expand(stored[:-1], (16, 1, 1, 16), table)
    with pytest.raises(BundleError, match=r"needs"):
        expand(stored, (1 << 30, 1 << 30, 1, 16), table)
