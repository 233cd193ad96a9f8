"""Plain files of a runtime for chosen widths of a bundle, with ordinary weights: what `dsnet hydrate` writes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge.bundle.litert.hydrate import hydrate as hydrate_litert
from edge.bundle.litert.hydrate import hydrate_monolithic
from edge.bundle.manifest import Artifact, Program
from edge.bundle.nested.weights import open_nested_weights
from edge.bundle.reader import Bundle
from edge.errors import BundleError, RuntimeUnavailableError
from edge.runtime.native_stderr import native_stderr_silenced

Files = dict[Path, bytes]

FORMS = {"litert": ("tflite", "monolithic"), "executorch": ("pte", "ptd", "programs")}
"""Runtime → the forms its plain files can have, the usual one first."""


def plain_files(bundle: Bundle, artifact: Artifact, widths: Sequence[int], form: str | None, out: Path) -> Files:
    """Return the plain files for some widths, by the path they are to be written to.

    `form` None means the runtime's usual one. Raises BundleError that lists the valid choices.
    """
    forms = FORMS.get(artifact.runtime, ())
    form = form or next(iter(forms), None)
    if form not in forms:
        raise BundleError(f"unknown form {form!r}; valid for --as with {artifact.runtime}: {', '.join(forms)}")
    served = {program.width: program for program in artifact.programs if program.width is not None}
    missing = [width for width in widths if width not in served]
    if missing:
        valid = ", ".join(map(str, sorted(served)))
        raise BundleError(f"width {missing[0]} is not in this artifact, which has {valid}; change --widths")
    heads = [program for program in artifact.programs if program.width is None]
    return MAKERS[form](bundle, artifact, heads, [served[width] for width in widths], out)


def _tflite(bundle: Bundle, artifact: Artifact, heads: list[Program], bodies: list[Program], out: Path) -> Files:
    return {out: hydrate_litert(bundle.verified_bytes(artifact), [program.name for program in (*heads, *bodies)])}


def _monolithic(bundle: Bundle, artifact: Artifact, heads: list[Program], bodies: list[Program], out: Path) -> Files:
    """One width as a single program net_NN, image → logits, without the gate."""
    if len(bodies) != 1:
        raise BundleError(f"--as monolithic makes one width of {len(bodies)} a program; name it with --widths")
    (body,), nested = bodies, bundle.verified_bytes(artifact)
    if body.role == "net":
        return {out: hydrate_litert(nested, [body.name])}
    return {out: hydrate_monolithic(nested, (heads[0].name, body.name), f"net_{body.width:02d}")}


def _pte(bundle: Bundle, artifact: Artifact, heads: list[Program], bodies: list[Program], out: Path) -> Files:
    """One self-contained file."""
    names = [program.name for program in (*heads, *bodies)]
    constants = open_nested_weights(bundle, artifact).constants(_program_files(names))
    return {out: _serializer("pte").with_constants(bundle.verified_bytes(artifact), names, constants)}


def _ptd(bundle: Bundle, artifact: Artifact, heads: list[Program], bodies: list[Program], out: Path) -> Files:
    """A program file without weights, and a data file beside it."""
    names = [program.name for program in (*heads, *bodies)]
    constants = open_nested_weights(bundle, artifact).constants(_program_files(names))
    serializer = _serializer("ptd")
    return {
        out.with_suffix(".pte"): serializer.without_constants(bundle.verified_bytes(artifact), names),
        out.with_suffix(".ptd"): serializer.data_file(constants),
    }


def _programs(bundle: Bundle, artifact: Artifact, heads: list[Program], bodies: list[Program], out: Path) -> Files:
    """A folder with one self-contained file per program, filled in from templates: no serializer, no ExecuTorch."""
    weights = open_nested_weights(bundle, artifact)
    names = [program.name for program in (*heads, *bodies)]
    return {out / path: weights.file(path) for path in _program_files(names)}


def _program_files(names: Sequence[str]) -> list[str]:
    return [f"{name}.pte" for name in names]


def _serializer(form: str) -> Any:
    """Return ExecuTorch's own serializer, which brings torch."""
    try:
        with native_stderr_silenced():
            from edge.bundle.executorch import pte
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(
            f"--as {form} needs ExecuTorch, which is not installed: pip install executorch; --as programs does without"
        ) from error
    return pte


MAKERS: dict[str, Callable[[Bundle, Artifact, list[Program], list[Program], Path], Files]] = {
    "tflite": _tflite,
    "monolithic": _monolithic,
    "pte": _pte,
    "ptd": _ptd,
    "programs": _programs,
}
