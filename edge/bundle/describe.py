"""A bundle's manifest as tables for people."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from common.console import table
from edge.bundle.checks import artifact_bytes, artifact_widths
from edge.bundle.manifest import AT_LEAST, Artifact, Gate, Limit, Manifest, OperatingPoint

if TYPE_CHECKING:
    from rich.table import Table


ARTIFACTS = ("runtime", "precision", "bytes", "widths", "off plain by", "checked with")
POINTS = ("name", "device", "artifact", "limits", "mean ms", "accuracy", "width: share")


def tables(manifest: Manifest) -> Iterator["Table"]:
    """Yield the tables that describe a bundle: network, widths, artifacts, operating points where there are any."""
    yield table("Network", ("property", "value"), _network_rows(manifest))
    yield table("Widths", ("width", "name", "MACs", "parameters", "gate logits"), _width_rows(manifest))
    yield table("Artifacts", ARTIFACTS, (_artifact_row(manifest, artifact) for artifact in manifest.artifacts))
    if manifest.operating_points:
        yield table("Operating points", POINTS, (_point_row(manifest, point) for point in manifest.operating_points))


def _network_rows(manifest: Manifest) -> Iterator[tuple[str, str]]:
    model = manifest.model
    yield "name", model.name
    yield (
        "input",
        f"{model.input_size}×{model.input_size} RGB, mean {_numbers(model.mean)}, std {_numbers(model.std)}",
    )
    more = f" and {len(model.classes) - 5} more" if len(model.classes) > 5 else ""
    yield "classes", f"{len(model.classes)}: {', '.join(model.classes[:5])}{more}"
    gates = [f"{gate.kind}, {len(gate.choices)} choices" for gate in manifest.gates]
    yield "gate" if len(gates) < 2 else "gates", "; ".join(gates) or "none"


def _width_rows(manifest: Manifest) -> Iterator[tuple[object, ...]]:
    for width in manifest.widths:
        logits = [str(_logit(gate, entry)) for gate, entry in zip(manifest.gates, width.path, strict=False)]
        yield width.index, width.name, f"{width.macs:,}", f"{width.params:,}", " ".join(logits) or "–"


def _logit(gate: Gate, entry: int) -> int | str:
    """Return which logit of a gate stands for an entry of its part."""
    return gate.choices.index(entry) if entry in gate.choices else "–"


def _artifact_row(manifest: Manifest, artifact: Artifact) -> tuple[object, ...]:
    difference = f"{max(item.max_abs_difference for item in artifact.parity):g}" if artifact.parity else "–"
    widths = ", ".join(map(str, artifact_widths(artifact)))
    size = f"{artifact_bytes(manifest, artifact):,}"
    return artifact.runtime, artifact.precision, size, widths, difference, artifact.runtime_version


def _point_row(manifest: Manifest, point: OperatingPoint) -> tuple[object, ...]:
    bound = any(artifact.sha256 == point.artifact_sha256 for artifact in manifest.artifacts)
    return (
        point.name if bound else f"{point.name} (of another bundle)",
        f"{point.device} ×{point.threads}",
        f"{point.runtime} {point.precision}",
        ", ".join(map(limit_text, point.limits)),
        f"{point.expected_mean_ms:.3g}",
        f"{point.calibration_accuracy:.1%}",
        ", ".join(f"{share.width}: {share.share:.0%}" for share in point.shares),
    )


def limit_text(limit: Limit) -> str:
    """Return a limit as people write it: `mean ≤ 8 ms`, `accuracy ≥ 70%`."""
    sign = "≥" if limit.statistic in AT_LEAST else "≤"
    if limit.statistic == "accuracy":
        return f"accuracy {sign} {limit.value * 100:.4g}%"
    if limit.statistic == "mean_macs":
        return f"MACs {sign} {limit.value / 1e6:g} M"
    if limit.statistic == "images_per_s":
        return f"{sign} {limit.value:g} images/s"
    return f"{limit.statistic.removesuffix('_ms')} {sign} {limit.value:g} ms"


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
