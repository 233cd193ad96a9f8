"""What a conversion is asked for, and what it gives: artifacts that passed their checks, not yet on disk."""

from collections.abc import Callable
from dataclasses import dataclass, field

from common import sha256_bytes
from convert.coreml.options import CoreMlOptions
from convert.nested_store import NestedFiles
from edge.bundle.manifest import Artifact, WeightsFile
from edge.bundle.nested.weights import Role

Step = Callable[[str], None]
"""Told what happens now."""


@dataclass(frozen=True)
class Request:
    """What to convert a checkpoint into."""

    widths: tuple[int, ...]
    runtime: str
    precisions: tuple[str, ...]
    classes: tuple[str, ...]
    frontend: str | None = None
    """Exporter of LiteRT's float graph; None: onnx2tf, for transformers litert-torch."""
    coreml: CoreMlOptions = field(default_factory=CoreMlOptions)
    """What Core ML packages say about themselves and on what they run."""
    replace: bool = False
    """Whether a bundle of another network may be replaced."""


@dataclass(frozen=True)
class NewWeights:
    """A store, recipe or template that belongs to an artifact."""

    record: WeightsFile
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class NewArtifact:
    """An artifact that passed its checks."""

    record: Artifact
    data: bytes = field(repr=False)
    weights: tuple[NewWeights, ...] = ()

    @property
    def files(self) -> dict[str, bytes]:
        """Return every file of the artifact by its path in the bundle."""
        return {item.record.file: item.data for item in self.weights} | {self.record.file: self.data}


def bundle_path(runtime: str, stem: str, precision: str, suffix: str, default: str) -> str:
    """Return where a file lies in a bundle; those of a runtime's default precision have the plain name."""
    return f"{runtime}/{stem}{'' if precision == default else f'_{precision}'}.{suffix}"


def weights_of(artifact: Artifact, nested: NestedFiles, default: str) -> tuple[NewWeights, ...]:
    """Return the weights files of an artifact; `default` is its runtime's default precision."""
    contents: dict[Role, tuple[str, str, bytes]] = {
        "store": ("weights", "bin", nested.store),
        "recipe": ("recipe", "json", nested.recipe.to_json()),
        "template": ("template", "bin", nested.template),
    }
    return tuple(
        NewWeights(
            WeightsFile(
                runtime=artifact.runtime,
                precision=artifact.precision,
                role=role,
                file=bundle_path(artifact.runtime, stem, artifact.precision, suffix, default),
                bytes=len(data),
                sha256=sha256_bytes(data),
            ),
            data,
        )
        for role, (stem, suffix, data) in contents.items()
    )
