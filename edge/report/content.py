"""What a report says, before it is drawn: plain records, made by `gather`, `sizes`, `examples` and `peers`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.bundle.manifest import Estimate, HeldOut, Manifest, OperatingPoint
from edge.calibration import Evaluation
from edge.calibration.budget import Floats
from edge.profiling import QualityWarning, Run, Summary
from edge.report.adaptive import Simulation
from edge.report.peers import Peer


@dataclass(frozen=True)
class StaticWidth:
    """One width for every image, gate included."""

    index: int
    name: str
    macs: int
    params: int
    samples_ms: Floats
    """[n] milliseconds of one image from end to end."""
    latency: Summary
    """Of the same samples."""
    accuracy: float | None
    """Top-1, 0…1; None where no predictions tell."""


@dataclass(frozen=True)
class DynamicPoint:
    """An operating point and what it does."""

    point: OperatingPoint
    evaluation: Evaluation
    """On the images of the predictions and the samples of the run."""
    held_out: HeldOut | None
    """Where the point was made from these very files."""
    seen: bool
    """Whether the point was fitted to the images that it is evaluated on."""

    @property
    def accuracy(self) -> Estimate:
        """Return top-1, 0…1, on held-out images where that is known."""
        return self.held_out.accuracy if self.held_out else self.evaluation.accuracy

    @property
    def mean_ms(self) -> Estimate:
        """Return the mean latency of one image, on held-out images where that is known."""
        return self.held_out.mean_ms if self.held_out else self.evaluation.mean_ms

    @property
    def flattered(self) -> bool:
        """Return whether nothing but images that it was fitted to tells how good it is."""
        return self.seen and not self.held_out

    @property
    def basis(self) -> str:
        """Return on which images accuracy and latency were found."""
        if self.held_out:
            return f"held-out images ({self.held_out.images})"
        return "images it was fitted to" if self.seen else "images it never saw"


@dataclass(frozen=True)
class Section:
    """Everything about one run of the latency table: a device, a runtime and precision, a thread count."""

    key: str
    """Part of the names of its figures."""
    run: Run
    widths: Sequence[StaticWidth]
    points: Sequence[DynamicPoint]
    images: int | None
    """Images of the predictions; None without predictions."""
    warnings: Sequence[QualityWarning]
    left_out: Sequence[str]
    """Operating points of this device that cannot be shown, and why."""
    simulation: Simulation | None = None
    """Of switching between its points; None with fewer than two."""

    def best_width_within(self, ms: float) -> StaticWidth | None:
        """Return the most accurate single width whose mean latency is at most `ms`."""
        known = [width for width in self.widths if width.accuracy is not None and width.latency.mean_ms <= ms]
        return max(known, key=lambda width: width.accuracy or 0, default=None)

    @property
    def front(self) -> list[StaticWidth]:
        """Return the Pareto front of the static widths: the more accurate the slower, nothing better beside them."""
        known = [width for width in self.widths if width.accuracy is not None]
        ordered = sorted(known, key=lambda width: (width.latency.mean_ms, -(width.accuracy or 0)))
        kept: list[StaticWidth] = []
        for width in ordered:
            if not kept or (width.accuracy or 0) > (kept[-1].accuracy or 0):
                kept.append(width)
        return kept


@dataclass(frozen=True)
class Sizes:
    """What one artifact takes with its shared weights, and what its widths take as plain files."""

    runtime: str
    precision: str
    shared_bytes: int
    """One artifact, every width, with the weights that belong to it."""
    single_bytes: Sequence[int]
    """A plain file for each width, narrow → wide; empty where they cannot be made here."""
    reason: str = ""
    """Why they cannot."""


@dataclass(frozen=True)
class Example:
    """An image and what the bundle said to it."""

    name: str
    thumbnail: str
    """A data URI."""
    score: float
    width: int
    class_name: str
    probability: float
    true_class: str | None


@dataclass(frozen=True)
class Examples:
    """The images that the gate finds easiest and hardest."""

    point: str
    """The operating point that picked the widths."""
    images: int
    """How many images were run."""
    easy: Sequence[Example]
    """Ascending score."""
    hard: Sequence[Example]
    """Descending score."""
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """All of a report."""

    manifest: Manifest
    sections: Sequence[Section]
    sizes: Sequence[Sizes]
    peers: Sequence[Peer] = ()
    examples: Examples | None = None
    left_out: Sequence[str] = ()
    """Runs and examples that cannot be shown, and why."""
    sources: Sequence[tuple[str, str]] = field(default=())
    """Files that it was made from, and their SHA-256."""
