import json
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle.manifest import Limit, OperatingPoint, Share
from edge.errors import CalibrationError, MeasurementError
from edge.runtime import AdaptivePolicy, AdaptiveSettings, SimulatedImage, simulate
from tests.golden import adaptive as golden
from tests.runtime import traces
from tests.runtime.operating_points import ACCURATE, BALANCED, FAST, point

POINTS = [ACCURATE, BALANCED, FAST]
TARGET_MS = ACCURATE.limits[0].value
CAMERA_S = 1 / 30
PHONE = 187 / 114
"""A phone at thermal status 0 slowed from 114 to 187 ms."""
CASES: list[dict[str, Any]] = json.loads(golden.FILE.read_text(encoding="utf-8"))
DEFAULT = AdaptiveSettings()


def names(images: list[SimulatedImage]) -> list[str]:
    return [image.point.name for image in images]


def switches(images: list[SimulatedImage]) -> list[tuple[float, str]]:
    """When another point answered than before, and which."""
    return [(after.at_s, after.point.name) for before, after in pairwise(images) if after.point is not before.point]


def phases(name: str, policy: AdaptivePolicy) -> list[list[SimulatedImage]]:
    """A camera's images on a device that slows down as recorded, by phase of the recording."""
    recorded = traces.slowdowns(name)
    images = iter(simulate(policy, [slowdown for phase in recorded for slowdown in phase], CAMERA_S))
    return [[next(images) for _ in phase] for phase in recorded]


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_every_language_switches_alike(case: dict[str, Any]) -> None:
    points = [OperatingPoint.model_validate(record) for record in case["points"]]
    policy = AdaptivePolicy(points, case["target_ms"], AdaptiveSettings(**case["settings"]))
    after = [(policy.observe(*image).name, policy.slowdown) for image in case["images"]]
    assert [name for name, _ in after] == [name for name, _ in case["after"]]
    assert [slowdown for _, slowdown in after] == pytest.approx([slowdown for _, slowdown in case["after"]], rel=1e-12)


def test_the_golden_file_is_what_its_builder_writes() -> None:
    assert Path(golden.FILE).read_text(encoding="utf-8") == golden.text()


def test_a_slow_device_gets_a_cheaper_point_within_a_few_images() -> None:
    images = simulate(AdaptivePolicy(POINTS), [1.0] * 50 + [PHONE] * 50)
    assert set(names(images[:50])) == {"accurate"}
    assert names(images[50:]).count("accurate") <= 5, "images at the old point"
    assert names(images)[-1] == "fast"


def test_a_recovered_device_gets_its_points_back_one_after_the_other() -> None:
    policy = AdaptivePolicy(POINTS)
    simulate(policy, [PHONE] * 30, CAMERA_S)
    recovered = simulate(policy, [1.0] * 500, CAMERA_S)
    (balanced_s, first), (accurate_s, second) = switches(recovered)
    assert (first, second) == ("balanced", "accurate")
    assert accurate_s - balanced_s >= DEFAULT.dwell_s


def test_images_at_long_intervals_go_up_only_on_a_window_of_new_ones() -> None:
    policy = AdaptivePolicy(POINTS)
    simulate(policy, [1.3] * 30, period_s=10)
    recovered = names(simulate(policy, [1.0] * 60, period_s=10))
    assert recovered.index("accurate") >= DEFAULT.window


def test_harder_images_are_no_slower_device() -> None:
    policy = AdaptivePolicy(POINTS)
    assert {policy.observe(13, 12.0, number).name for number in range(200)} == {"accurate"}
    assert policy.slowdown == 1


@given(
    gaps=st.lists(st.integers(-(-DEFAULT.window // DEFAULT.trimmed), 40), max_size=20),
    factors=st.lists(st.floats(1, 1e9), min_size=20, max_size=20),
)
def test_outliers_do_not_switch_however_slow_they_are(gaps: list[int], factors: list[float]) -> None:
    slowdowns = [factors[0]]
    for gap, factor in zip(gaps, factors, strict=False):
        slowdowns += [*[1.0] * (gap - 1), factor]
    assert set(names(simulate(AdaptivePolicy(POINTS), slowdowns))) == {"accurate"}


@given(
    trace=st.lists(
        st.tuples(st.sampled_from([0.2, 1.0, 1.2, 2.0, 9.0]), st.sampled_from([0.0, 0.01, 0.05, 1.0])), min_size=40
    ),
    window=st.integers(1, 3),
    dwell_s=st.floats(0.1, 2),
)
def test_any_stretch_of_any_trace_has_a_bounded_number_of_switches(
    trace: list[tuple[float, float]], window: int, dwell_s: float
) -> None:
    policy = AdaptivePolicy(POINTS, settings=AdaptiveSettings(window=window, trimmed=0, dwell_s=dwell_s))
    at_s, times = 0.0, []
    for slowdown, pause_s in trace:
        at_s, before = at_s + pause_s, policy.point
        if policy.observe(before.widths[0], slowdown * (before.shares[0].mean_ms or 0), at_s) is not before:
            times.append(at_s)
    for first in range(len(times)):
        for last in range(first, len(times)):
            bound = len(POINTS) + 1 + 2 * int((times[last] - times[first]) / dwell_s)
            assert last - first + 1 <= bound, f"{times[first : last + 1]} with a dwell of {dwell_s} s"


def test_a_device_that_only_the_dear_point_slows_down_is_tried_less_and_less_often() -> None:
    policy, tried = AdaptivePolicy([ACCURATE, BALANCED]), []
    for number in range(30 * 600):
        before = policy.point
        slowdown = 1.3 if before is ACCURATE else 1.0
        policy.observe(before.widths[0], slowdown * (before.shares[0].mean_ms or 0), number * CAMERA_S)
        if before is BALANCED and policy.point is ACCURATE:
            tried.append(number * CAMERA_S)
    waits = [after - before for before, after in pairwise([0.0, *tried])]
    assert waits == pytest.approx([5, 10, 20, 40, 80, 160], rel=0.15)


def test_a_point_that_held_makes_the_next_return_as_quick_as_the_first() -> None:
    policy = AdaptivePolicy([ACCURATE, BALANCED])
    slow, fine = [1.3] * 30, [1.0] * 600
    trace = simulate(policy, [*slow, *fine, *slow, *fine, *slow, *fine], CAMERA_S)
    down, up = switches(trace)[::2], switches(trace)[1::2]
    assert [name for _, name in up] == ["accurate"] * 3
    assert [back - left for (left, _), (back, _) in zip(down, up, strict=True)] == pytest.approx([5.1] * 3, abs=0.2)


@pytest.mark.parametrize("slowdown", [1.0, 1.02, 1.04, 1.06, 1.08, 1.1, 1.12])
def test_recorded_noise_at_the_boundary_does_not_flap(slowdown: float) -> None:
    quiet = traces.slowdowns("one_load")[0]
    minutes = 10
    noise = [slowdown * quiet[number % len(quiet)] for number in range(minutes * 60 * 30)]
    found = len(switches(simulate(AdaptivePolicy(POINTS), noise, CAMERA_S)))
    assert found <= 10 * minutes, f"{found} switches in {minutes} minutes"


@pytest.mark.parametrize("name", traces.NAMES)
def test_recorded_throttling_keeps_the_mean_within_the_target_wherever_a_point_can(name: str) -> None:
    for images in phases(name, AdaptivePolicy(POINTS)):
        slowdown, mean_ms = fmean(image.slowdown for image in images), fmean(image.ms for image in images)
        if FAST.expected_mean_ms * slowdown <= TARGET_MS:
            assert mean_ms <= TARGET_MS * (1 + DEFAULT.tolerance), f"{mean_ms:.2f} ms at {slowdown:.2f} times"


@pytest.mark.parametrize("name", traces.NAMES)
def test_recorded_throttling_costs_less_accuracy_than_always_the_cheapest_point(name: str) -> None:
    images = [image for phase in phases(name, AdaptivePolicy(POINTS)) for image in phase]
    accuracy = fmean(image.point.calibration_accuracy for image in images)
    steady = fmean(image.ms for phase in phases(name, AdaptivePolicy([ACCURATE])) for image in phase)
    assert accuracy > FAST.calibration_accuracy + 0.01, f"{accuracy:.4f}"
    assert fmean(image.ms for image in images) < steady


def test_a_recorded_load_is_answered_by_cheaper_points_and_its_end_by_the_one_asked_for() -> None:
    idle, _, heavy, _, recovered, _ = phases("stairs", AdaptivePolicy(POINTS))
    shares = [names(images).count("accurate") / len(images) for images in (idle, heavy, recovered)]
    assert shares[1] < 0.05 < 0.3 < shares[0], shares
    assert shares[2] > 0.5, shares


def test_a_tail_limit_and_a_mean_limit_are_both_kept() -> None:
    limits = {"accurate": (12.0, 20.0, 19.0), "fast": (12.0, 20.0, 5.0)}
    tailed = [
        made.model_copy(
            update={
                "limits": [
                    Limit(statistic="mean_ms", value=limits[made.name][0], expected=made.expected_mean_ms),
                    Limit(statistic="p99_ms", value=limits[made.name][1], expected=limits[made.name][2]),
                ]
            }
        )
        for made in (ACCURATE, FAST)
    ]
    assert names(simulate(AdaptivePolicy(tailed), [1.2] * 30))[-1] == "fast", "p99 would be 22.8 ms"
    assert names(simulate(AdaptivePolicy(tailed, target_ms=12.0), [1.2] * 30))[-1] == "accurate", "mean 10.3 ms"


def test_images_per_second_are_a_limit_on_the_mean() -> None:
    fps = Limit(statistic="images_per_s", value=100.0, expected=1000 / 8.6)
    asked = ACCURATE.model_copy(update={"limits": [fps]})
    assert names(simulate(AdaptivePolicy([asked, FAST]), [1.15] * 40))[-1] == "accurate", "101 images/s"
    assert names(simulate(AdaptivePolicy([asked, FAST]), [1.3] * 40))[-1] == "fast", "89 images/s"


def test_a_device_faster_than_calibrated_may_afford_more_than_was_asked_for() -> None:
    images = simulate(AdaptivePolicy([BALANCED, ACCURATE]), [0.6] * 400, CAMERA_S)
    assert (images[0].point, images[-1].point) == (BALANCED, ACCURATE)


def test_a_point_that_is_dearer_and_no_better_never_answers() -> None:
    worse = point("worse", 0.73, {4: 0.4, 9: 0.6})
    images = simulate(AdaptivePolicy([ACCURATE, worse, BALANCED]), [1.0] * 20 + [1.2] * 40)
    assert set(names(images)) == {"accurate", "balanced"}


def test_one_point_alone_stays() -> None:
    assert set(names(simulate(AdaptivePolicy([BALANCED]), [3.0] * 40))) == {"balanced"}


def test_simulated_images_use_the_widths_as_often_as_the_point_says() -> None:
    images = simulate(AdaptivePolicy([ACCURATE]), [1.0] * 1000)
    used = [image.width for image in images]
    for share in ACCURATE.shares:
        assert used.count(share.width) / 1000 == pytest.approx(share.share, abs=0.005)
    assert fmean(image.ms for image in images) == pytest.approx(ACCURATE.expected_mean_ms, rel=0.005)


OLD = BALANCED.model_copy(update={"shares": [Share(width=0, share=0.5), Share(width=4, share=0.5, mean_ms=5.0)]})
BY_ACCURACY = ACCURATE.model_copy(update={"limits": [Limit(statistic="accuracy", value=0.7, expected=0.76)]})
P90 = ACCURATE.model_copy(update={"limits": [Limit(statistic="p90_ms", value=20, expected=12)]})
UNTIMED = FAST.model_copy(update={"expected_mean_ms": 0.0})


@pytest.mark.parametrize(
    ("points", "target_ms", "message"),
    [
        ([], None, "no operating points to switch between"),
        ([ACCURATE, OLD], None, r"balanced does not say what an image of widths \[0, 9\] takes \(mean_ms\)"),
        ([ACCURATE, point("b", 0.7, {0: 1}, device="phone")], None, r"differ in device \(accurate: local, b: phone\)"),
        ([ACCURATE, point("b", 0.7, {0: 1}, artifact_sha256="9" * 64)], None, "differ in artifact_sha256"),
        ([ACCURATE, point("b", 0.7, {0: 1}, threads=4)], None, r"differ in threads \(accurate: 1, b: 4\)"),
        ([ACCURATE, point("b", 0.7, {0: 1}, sustained=True)], None, "differ in sustained"),
        ([BY_ACCURACY, FAST], None, "accurate was asked for accuracy, no latency; give --target-ms"),
        ([P90, FAST], None, "fast does not say its p90_ms, which the target limits"),
        ([ACCURATE, UNTIMED], None, "fast does not say its mean_ms"),
        (POINTS, 2.0, "even operating point fast misses the target by 100% on the calibrated device"),
        (POINTS, 0.0, "a target of 0.0 ms; give a number above 0"),
        (POINTS, float("nan"), "a target of nan ms"),
    ],
)
def test_points_that_cannot_be_switched_between_are_refused_in_one_line(
    points: list[OperatingPoint], target_ms: float | None, message: str
) -> None:
    with pytest.raises(CalibrationError, match=message) as refused:
        AdaptivePolicy(points, target_ms)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ((0, 5.0, 0.0), r"accurate uses widths \[4, 9, 13\], not 0"),
        ((4, 0.0, 0.0), "an image took 0.0 ms at 0.0 s"),
        ((4, float("inf"), 0.0), "an image took inf ms"),
        ((4, 5.0, float("nan")), "at nan s"),
    ],
)
def test_an_image_that_cannot_be_is_refused(image: tuple[int, float, float], message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        AdaptivePolicy(POINTS).observe(*image)


@pytest.mark.parametrize(
    "settings",
    [
        {"window": 4, "trimmed": 2},
        {"trimmed": -1},
        {"window": 5000},
        {"tolerance": -0.1},
        {"tolerance": float("nan")},
        {"dwell_s": 0},
        {"dwell_s": 9, "max_dwell_s": 8},
    ],
)
def test_settings_without_a_meaning_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(CalibrationError, match="must be"):
        AdaptiveSettings(**settings)
