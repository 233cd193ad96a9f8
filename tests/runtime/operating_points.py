"""Operating points to switch between, as dsnet calibrate would write them."""

from collections.abc import Mapping

from edge.bundle.manifest import Limit, OperatingPoint, Share, ThresholdPolicy

WIDTH_MS = {0: 4.0, 4: 5.0, 9: 8.0, 13: 12.0}
"""Mean latency by width, on the device as it was calibrated."""


def point(
    name: str, accuracy: float, shares: Mapping[int, float], limit_ms: float = 12.0, **changes: object
) -> OperatingPoint:
    mean_ms = sum(share * WIDTH_MS[width] for width, share in shares.items())
    made = OperatingPoint(
        name=name, runtime="litert", precision="int8", device="local", threads=1,
        policy=ThresholdPolicy(widths=list(shares), thresholds=[float(at) for at in range(len(shares) - 1)]),
        objective="accuracy", limits=[Limit(statistic="mean_ms", value=limit_ms, expected=mean_ms)],
        shares=[Share(width=width, share=share, mean_ms=WIDTH_MS[width]) for width, share in shares.items()],
        expected_mean_ms=mean_ms, calibration_accuracy=accuracy, optimality_gap=None, artifact_sha256="0" * 64,
        latency_sha256="1" * 64, predictions_sha256="2" * 64,
    )  # fmt: skip
    return made.model_copy(update=changes)


ACCURATE = point("accurate", 0.76, {4: 0.2, 9: 0.5, 13: 0.3}, limit_ms=9.0)
"""8.6 ms, of the 9 that were asked for."""
BALANCED = point("balanced", 0.74, {0: 0.2, 4: 0.4, 9: 0.4}, limit_ms=6.0)
"""6 ms."""
FAST = point("fast", 0.70, {0: 1.0}, limit_ms=4.0)
"""4 ms."""
