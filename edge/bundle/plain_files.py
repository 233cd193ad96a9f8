"""Plain files of a runtime for chosen widths of a bundle, with ordinary weights: what `dsnet hydrate` writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import atomic_folder, atomic_write
from common.program_names import whole_program
from edge.bundle.checks import artifact_widths
from edge.bundle.coreml.hydrate import hydrate as hydrate_coreml
from edge.bundle.coreml.package import SUFFIX
from edge.bundle.litert.hydrate import hydrate as hydrate_litert
from edge.bundle.litert.hydrate import hydrate_monolithic
from edge.bundle.manifest import Artifact, Program
from edge.bundle.nested.weights import open_nested_weights
from edge.bundle.reader import Bundle
from edge.errors import BundleError, RuntimeUnavailableError
from edge.runtime.native_stderr import native_stderr_silenced

Files = dict[Path, bytes]

FORMS = {
    "litert": ("tflite", "monolithic"),
    "executorch": ("pte", "ptd", "programs"),
    "coreml": ("mlpackage", "packages"),
}
"""Runtime → the forms its plain files can have, the usual one first."""
FOLDERS = ("programs", "mlpackage", "packages")
"""Forms that are folders."""
FORMS_OF_OURS = {"litert": "tflite", "executorch": "programs"}
"""Runtime → the form that needs no other package than ours; of Core ML, whichever the deployment target allows."""


@dataclass(frozen=True)
class Choice:
    """What of an artifact is to be rebuilt, and where."""

    bundle: Bundle
    artifact: Artifact
    widths: Sequence[int]
    programs: Sequence[Program]
    """All that these widths run, in order."""
    out: Path
    operating_points: bool = False
    """Whether the bundle's operating points go into the files' metadata."""

    @property
    def names(self) -> list[str]:
        """Return the names of the programs."""
        return [program.name for program in self.programs]


def plain_files(
    bundle: Bundle,
    artifact: Artifact,
    widths: Sequence[int],
    form: str | None,
    out: Path,
    operating_points: bool = False,
) -> Files:
    """Return the plain files for some widths, by the path they are to be written to.

    `form` None means the runtime's usual one. Raises BundleError that lists the valid choices.
    """
    forms = FORMS[artifact.runtime]
    if form is not None and form not in forms:
        raise BundleError(f"unknown form {form!r}; valid for --as with {artifact.runtime}: {', '.join(forms)}")
    if operating_points and artifact.runtime != "coreml":
        raise BundleError("--operating-points is for coreml: no other runtime's files have a place for them")
    valid = artifact_widths(artifact)
    missing = [width for width in widths if width not in valid]
    if missing:
        raise BundleError(
            f"width {missing[0]} is not in this artifact, which has {', '.join(map(str, valid))}; change --widths"
        )
    programs = [program for program in artifact.programs if not set(widths).isdisjoint(program.widths)]
    choice = Choice(bundle, artifact, widths, programs, out, operating_points)
    return MAKERS[form or forms[0]](choice) if artifact.runtime != "coreml" else _coreml(choice, form)


def separate_model(bundle: Bundle, artifact: Artifact, width: int) -> list[bytes]:
    """Return the plain files of one width, the gate in them: what an app ships for each width where none is shared."""
    form = FORMS_OF_OURS.get(artifact.runtime)
    return list(plain_files(bundle, artifact, [width], form, Path("width")).values())


def write_files(files: Files) -> None:
    """Write plain files, each whole or not at all; a Core ML package, whose files only make sense together, as one."""
    packages: dict[Path, dict[Path, bytes]] = {}
    for path, data in files.items():
        package = next((parent for parent in path.parents if parent.suffix == SUFFIX), None)
        if package is not None:
            packages.setdefault(package, {})[path.relative_to(package)] = data
            continue
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
    for package, parts in packages.items():
        with atomic_folder(package) as folder:
            for part, data in parts.items():
                (folder / part).parent.mkdir(parents=True, exist_ok=True)
                (folder / part).write_bytes(data)


def _tflite(choice: Choice) -> Files:
    return {choice.out: hydrate_litert(choice.bundle.verified_bytes(choice.artifact), choice.names)}


def _monolithic(choice: Choice) -> Files:
    """One width as a single program net_NN, image → logits, without gates."""
    if len(choice.widths) != 1:
        raise BundleError(f"--as monolithic makes one width of {len(choice.widths)} a program; name it with --widths")
    (width,), nested = choice.widths, choice.bundle.verified_bytes(choice.artifact)
    names = [program.name for program in choice.programs if program.role != "gate"]
    return {choice.out: hydrate_monolithic(nested, names, whole_program(width))}


def _pte(choice: Choice) -> Files:
    """One self-contained file."""
    constants = open_nested_weights(choice.bundle, choice.artifact).constants(_program_files(choice))
    program = choice.bundle.verified_bytes(choice.artifact)
    return {choice.out: _serializer("pte").with_constants(program, choice.names, constants)}


def _ptd(choice: Choice) -> Files:
    """A program file without weights, and a data file beside it."""
    if choice.out.suffix != ".pte":
        raise BundleError(f"{choice.out}: the weights go beside it; choose an --out that ends in .pte")
    constants = open_nested_weights(choice.bundle, choice.artifact).constants(_program_files(choice))
    serializer, program = _serializer("ptd"), choice.bundle.verified_bytes(choice.artifact)
    return {
        choice.out: serializer.without_constants(program, choice.names),
        choice.out.with_suffix(".ptd"): serializer.data_file(constants),
    }


def _programs(choice: Choice) -> Files:
    """A folder with one self-contained file per program, filled in from templates: no serializer, no ExecuTorch."""
    weights = open_nested_weights(choice.bundle, choice.artifact)
    return {choice.out / path: weights.file(path) for path in _program_files(choice)}


def _program_files(choice: Choice) -> list[str]:
    return [f"{name}.pte" for name in choice.names]


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


def _coreml(choice: Choice, form: Any) -> Files:
    """A package with every program, or one package each; which is usual depends on the deployment target."""
    return hydrate_coreml(
        choice.bundle, choice.artifact, choice.names, choice.out, form, operating_points=choice.operating_points
    )


MAKERS: dict[str, Callable[[Choice], Files]] = {
    "tflite": _tflite,
    "monolithic": _monolithic,
    "pte": _pte,
    "ptd": _ptd,
    "programs": _programs,
}
