"""The runtimes that a supernet is converted for: one folder each, with the same three steps: export → nest → check."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from convert.artifacts import NewArtifact, Request, Step
from convert.errors import ConvertError
from convert.images import CheckImages
from convert.quiet import quiet
from train.checkpoint import Checkpoint
from train.families import FAMILIES
from train.spec import SupernetSpec


@dataclass(frozen=True)
class Entry:
    """What is known of a runtime before its packages are loaded."""

    module: str
    default_precision: str
    transformer_precisions: tuple[str, ...]
    """Those of transformers: quantizers of activations would leave some of attention and layer norm in float."""
    needs_images: bool = True
    """Whether a conversion looks at images: to quantize activations, or to compare answers."""

    def default_for(self, spec: SupernetSpec) -> str:
        """Return the precision that a network is converted to unless told."""
        is_transformer = FAMILIES[spec.family].is_transformer
        return self.transformer_precisions[0] if is_transformer else self.default_precision


RUNTIMES = {
    "litert": Entry("convert.litert.artifacts", "int8", ("wi8",)),
    "executorch": Entry("convert.executorch.artifacts", "int8", ("fp32",)),
    "coreml": Entry("convert.coreml.artifacts", "fp16", ("fp16", "fp32", "int8"), needs_images=False),
}


class Runtime(Protocol):
    """What a runtime's `artifacts` module offers."""

    PRECISIONS: tuple[str, ...]

    def convert(self, checkpoint: Checkpoint, request: Request, images: CheckImages, step: Step) -> list[NewArtifact]:
        """Return one artifact per precision asked for; `step` is told what happens now, `count_steps` times.

        Raises ConvertError when the supernet cannot be converted as asked or a check fails.
        """

    def count_steps(self, programs: int, precisions: Sequence[str]) -> int:
        """Return how many times `convert` calls `step`."""


def runtime_entry(name: str) -> Entry:
    """Return what is known of a runtime; an unknown name is a ConvertError that lists the valid ones."""
    if name not in RUNTIMES:
        raise ConvertError(f"unknown runtime {name!r}; valid for --runtime: {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def load_runtime(name: str) -> Runtime:
    """Return a runtime's conversion by name; a missing package is a ConvertError that says what to install."""
    entry = runtime_entry(name)
    try:
        with quiet():  # exporters warn about what they would also like to find installed
            module: Runtime = import_module(entry.module)
    except ModuleNotFoundError as error:
        raise ConvertError(
            f"runtime {name} needs the package {error.name}; install it with: pip install 'dsnet-edge[convert]'"
        ) from error
    return module
