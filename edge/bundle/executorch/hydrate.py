"""Plain ExecuTorch files for chosen programs of a bundle: one .pte, a .pte with a .ptd, or one .pte per program.

One .pte per program comes from templates and needs no ExecuTorch; the others are put together by its serializer.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from edge.bundle.nested.weights import NestedWeights
from edge.errors import RuntimeUnavailableError

Form = Literal["pte", "ptd", "programs"]
FORMS: tuple[Form, ...] = get_args(Form)


def hydrate(program: bytes, weights: NestedWeights, names: Sequence[str], form: Form) -> dict[str, bytes]:
    """Return the files of one form by their suffix, from the artifact's program file and its weights.

    pte: {".pte": …}, self-contained; ptd: {".pte": …, ".ptd": …}; programs: {"prefix.pte": …, "tail_03.pte": …}.
    """
    if form == "programs":
        return {f"{name}.pte": weights.file(f"{name}.pte") for name in names}
    constants = constants_of(weights, names)
    try:
        from edge.bundle.executorch import pte
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(
            f"--as {form} needs ExecuTorch, which is not installed: pip install executorch; --as programs does without"
        ) from error
    if form == "pte":
        return {".pte": pte.with_constants(program, names, constants)}
    return {".pte": pte.without_constants(program, names), ".ptd": pte.data_file(constants)}


def constants_of(weights: NestedWeights, names: Sequence[str]) -> dict[str, bytes]:
    """Return the constants of some programs by key, in the order in which the stock exporter writes them."""
    pieces = {file.path: file.pieces for file in weights.recipe.files}
    indices = dict.fromkeys(index for name in names for _, index in pieces[f"{name}.pte"])
    return {weights.recipe.slices[index].key: weights.slice(index) for index in indices}
