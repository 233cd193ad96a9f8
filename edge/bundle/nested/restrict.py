"""A smaller store, recipe and template, for some of the plain files alone: no constant and no file changes a byte."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from edge.bundle.nested.recipe import ALIGNMENT, PlainFile, Slice, StoredTensor, format_for
from edge.bundle.nested.weights import NestedWeights

Ranges = dict[int, list[int]]
"""Index of a tensor → [a, b, c], the range of it that is needed."""
Numbers = Mapping[int, int]
"""Index before → index after."""


def restrict(weights: NestedWeights, paths: Collection[str]) -> NestedWeights:
    """Return the nested weights of the plain files at `paths`.

    Slices that only other files have go, and so does what no slice that is left reaches of a tensor.
    """
    recipe = weights.recipe
    files = [file for file in recipe.files if file.path in paths]
    slices = _numbers(index for file in files for _, index in file.pieces)
    ranges = _ranges(recipe.slices[index] for index in slices)
    tensors = _numbers(ranges)
    store, stored = _cut(weights, ranges)
    template, moved = _moved(weights.template, files, slices)
    renumbered = [_renumbered(recipe.slices[index], tensors) for index in slices]
    smaller = {
        "format": format_for(renumbered),
        "store_bytes": len(store),
        "template_bytes": len(template),
        "tensors": stored,
        "slices": renumbered,
        "files": moved,
    }
    return NestedWeights(recipe.model_copy(update=smaller), store, template)


def _numbers(indices: Iterable[int]) -> Numbers:
    """Return new numbers, from 0 on, for the indices that are kept, in their order."""
    return {old: new for new, old in enumerate(sorted(set(indices)))}


def _ranges(slices: Iterable[Slice]) -> Ranges:
    """Return the smallest range of every tensor that holds all of these slices and their scales."""
    found: Ranges = {}
    for piece in slices:
        a, b, c = piece.shape
        reached = [(piece.tensor, [a, b if piece.positions is None else max(piece.positions) + 1, c])]
        if piece.scale is not None and piece.axis is not None:
            reached.append((piece.scale, [1, 1, piece.shape[piece.axis]]))
        for tensor, shape in reached:
            found[tensor] = [max(sizes) for sizes in zip(shape, found.get(tensor, shape), strict=True)]
    return dict(sorted(found.items()))


def _cut(weights: NestedWeights, ranges: Ranges) -> tuple[bytes, list[StoredTensor]]:
    """Return the store of these ranges, in their order, and where they lie in it."""
    store, tensors = bytearray(), []
    for index, (a, b, c) in ranges.items():
        store += bytes(-len(store) % ALIGNMENT)
        place = {"shape": [a, b, c], "offset": len(store)}
        tensors.append(weights.recipe.tensors[index].model_copy(update=place))
        store += weights.tensor(index)[:a, :b, :c].tobytes()
    return bytes(store), tensors


def _moved(template: bytes, files: Sequence[PlainFile], slices: Numbers) -> tuple[bytes, list[PlainFile]]:
    """Return the template of these files and their records; streams that files share stay shared."""
    kept, places, moved = bytearray(), dict[tuple[int, int], int](), []
    for file in files:
        stream = file.offset, file.offset + file.compressed_bytes
        if stream not in places:
            places[stream] = len(kept)
            kept += template[slice(*stream)]
        pieces = [[literals, slices[index]] for literals, index in file.pieces]
        moved.append(file.model_copy(update={"offset": places[stream], "pieces": pieces}))
    return bytes(kept), moved


def _renumbered(piece: Slice, tensors: Numbers) -> Slice:
    scale = None if piece.scale is None else tensors[piece.scale]
    return piece.model_copy(update={"tensor": tensors[piece.tensor], "scale": scale})
