"""Write adaptive.json: `python -m tests.golden.adaptive`. Which operating point answers after each image of a trace.

One record per case: `points` as in a manifest, the first is the one whose target is kept; `target_ms` or null;
`settings`; `images` as [width, ms, at_s]; `after`, for each image, the name of the point for the next one and the
estimated slowdown.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.bundle.manifest import Limit, OperatingPoint
from edge.runtime.adaptive import AdaptivePolicy, AdaptiveSettings
from tests.runtime.operating_points import ACCURATE, BALANCED, FAST, WIDTH_MS, point

FILE = Path(__file__).with_name("adaptive.json")
PERIOD_S = 0.25
QUICK = AdaptiveSettings(window=5, trimmed=1, dwell_s=2.0, max_dwell_s=6.0)
"""Short, so that a case fits on a line."""
LADDER = [ACCURATE, BALANCED, FAST]


def case(
    name: str,
    slowdowns: Sequence[float],
    points: Sequence[OperatingPoint] = LADDER,
    target_ms: float | None = None,
    settings: AdaptiveSettings = QUICK,
    period_s: float = PERIOD_S,
) -> dict[str, Any]:
    """Return a record: images take `slowdowns` times as long as expected, the point's widths in turn."""
    policy = AdaptivePolicy(points, target_ms, settings)
    images, after = [], []
    for number, slowdown in enumerate(slowdowns):
        width = policy.point.widths[number % len(policy.point.widths)]
        image = (width, round(slowdown * WIDTH_MS[width], 3), number * period_s)
        images.append(image)
        after.append((policy.observe(*image).name, policy.slowdown))
    return {
        "case": name,
        "target_ms": target_ms,
        "settings": asdict(settings),
        "points": [point.model_dump(mode="json") for point in points],
        "images": images,
        "after": after,
    }


def cases() -> list[dict[str, Any]]:
    """Return every case."""
    worse = point("worse", 0.73, {4: 0.5, 9: 0.5})
    roomy = ACCURATE.model_copy(update={"limits": [Limit(statistic="mean_ms", value=12.0, expected=8.6)]})
    tails = [_with_p95(roomy, 13.0, 12.0), _with_p95(FAST, 8.0, 4.0), _with_p95(BALANCED, 9.0, 8.0)]
    again = [*[1.4] * 5, *[1.0] * 36]
    falling_back = [*[1.2] * 6, *[1.0] * 18, *again, *again, *[1.0] * 40, *again]
    cold = [9.0, 3.0, *[1.0] * 20]
    throttled = [*[1.0] * 8, *[1.64] * 12, *[1.0] * 30]
    return [
        case("throttled, then recovered one point at a time", throttled),
        case("throttled mildly", [*[1.0] * 6, *[1.2] * 10, *[1.0] * 15]),
        case("even the cheapest point is too slow", [*[1.0] * 3, *[5.0] * 12]),
        case("one slow image at a time", ([*[1.0] * 5, 20.0] * 5)),
        case("slow first images", cold, settings=AdaptiveSettings()),
        case(
            "falls back right after going up: the next time takes longer, until a point has held",
            falling_back,
        ),
        case("a dip too short to go up", [*[1.64] * 10, *[1.0] * 8, *[1.64] * 6]),
        case("a slow moment puts off the way back", [*[1.3] * 8, *[1.0] * 4, *[1.6] * 3, *[1.0] * 20]),
        case("slow again just when it would go up", [*[1.2] * 3, *[1.0] * 6, *[1.4] * 4, *[1.0] * 20]),
        case("images at long intervals", [*[1.2] * 5, *[1.0] * 15], period_s=5.0),
        case("a target of its own", throttled, target_ms=10.0),
        case("a limit on the tail as well", throttled, tails),
        case("a dearer point that is no better is not used", throttled, [ACCURATE, worse, BALANCED]),
        case("faster than calibrated: better than asked", [0.6] * 20, [BALANCED, ACCURATE]),
    ]


def _with_p95(made: OperatingPoint, limit_ms: float, expected_ms: float) -> OperatingPoint:
    tail = Limit(statistic="p95_ms", value=limit_ms, expected=expected_ms)
    return made.model_copy(update={"limits": [*made.limits, tail]})


def text() -> str:
    """Return the file's content, one record per line."""
    return "[\n" + ",\n".join(json.dumps(record) for record in cases()) + "\n]\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
