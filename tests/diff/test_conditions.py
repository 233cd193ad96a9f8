"""What `--fail-if` may say, and when a condition fails."""

import pytest

from edge.diff import Change, Condition, Difference, NotCompared, Subject, judge, parse_condition
from edge.errors import ConditionError
from edge.profiling.statistics import Interval

NARROW = Subject(artifact="litert int8", width=0, device="phone")
WIDE = Subject(artifact="litert int8", width=1, device="phone")
FAST = Subject(artifact="litert int8", point="fast", device="phone")
SLOWER = Change("latency", WIDE, "measured", 1.0, 1.05, 0.05, Interval(0.035, 0.065))
MAYBE_SLOWER = Change("latency", NARROW, "measured", 1.0, 1.05, 0.05, Interval(0.01, 0.09))
FASTER_POINT = Change("latency", FAST, "measured", 2.0, 1.9, -0.05, Interval(-0.06, -0.04))
LESS_ACCURATE = Change("accuracy", WIDE, "measured", 0.7, 0.69, -0.01, Interval(-0.014, -0.006))
LARGER = Change("size", Subject(artifact="litert int8"), "exact", 100, 103, 0.03, Interval(0.03, 0.03))
LARGER_RECIPE = Change("size", Subject("litert int8", "recipe"), "exact", 10, 20, 1.0, Interval(1.0, 1.0))
RECORDED = Change("accuracy", FAST, "held out", 0.7, 0.6, -0.1, Interval(-0.12, -0.08))


def difference(*changes: Change, not_compared: tuple[NotCompared, ...] = ()) -> Difference:
    return Difference(list(changes), list(not_compared), [], [], [])


def outcomes(text: str, *changes: Change) -> list[str]:
    return [item.outcome for item in judge(parse_condition(text), difference(*changes)).judged]


def refusal(text: str, found: Difference) -> str:
    with pytest.raises(ConditionError) as error:
        judge(parse_condition(text), found)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "metric", "limit", "kind", "name"),
    [
        ("latency>3%", "latency", 0.03, None, None),
        (" latency > .5 % ", "latency", 0.005, None, None),
        ("size>0%", "size", 0, None, None),
        ("macs>1%:width=03", "macs", 0.01, "width", "3"),
        ("accuracy-drop>0.5%:point=mean-3ms", "accuracy", 0.005, "point", "mean-3ms"),
        ("latency>3%:point", "latency", 0.03, "point", None),
        ("latency>3%:width", "latency", 0.03, "width", None),
    ],
)
def test_a_condition_is_a_metric_a_value_and_what_it_is_about(
    text: str, metric: str, limit: float, kind: str | None, name: str | None
) -> None:
    assert parse_condition(text) == Condition(text, metric, pytest.approx(limit), kind, name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency", "'latency' is not METRIC>VALUE%; examples: latency>3%, size>2%, accuracy-drop>0.5%:point=fast"),
        ("latency>3", "is not METRIC>VALUE%"),
        ("latency>=3%", "is not METRIC>VALUE%"),
        ("latency<3%", "is not METRIC>VALUE%"),
        ("latency>-3%", "is not METRIC>VALUE%"),
        ("latency>1e3%", "is not METRIC>VALUE%"),
        ("accuracy>1%", "no metric 'accuracy'; valid: size, macs, latency, accuracy-drop"),
        ("latency>3%:height=2", "cannot be narrowed to 'height=2'; valid: :width, :width=3, :point, :point=NAME"),
        ("latency>3%:width=wide", "cannot be narrowed to 'width=wide'"),
        ("latency>3%:width=", "cannot be narrowed to 'width='"),
        ("latency>3%:", "cannot be narrowed to ''"),
        ("macs>3%:point=fast", "cannot be narrowed to 'point=fast'; valid: :width, :width=3"),
        ("size>3%:width=1", "cannot be narrowed to 'width=1'; it is of whole artifacts"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_would_be_one(text: str, message: str) -> None:
    with pytest.raises(ConditionError) as error:
        parse_condition(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("latency>7%:width=1", "within"),
        ("latency>6%:width=1", "within, not certain"),
        ("latency>4%:width=1", "exceeds, not certain"),
        ("latency>3%:width=1", "exceeds, certain"),
        ("latency>3%:width=0", "exceeds, not certain"),
        ("latency>0%:point=fast", "within"),
        ("accuracy-drop>2%", "within"),
        ("accuracy-drop>1.2%", "within, not certain"),
        ("accuracy-drop>0.8%", "exceeds, not certain"),
        ("accuracy-drop>0.5%", "exceeds, certain"),
        ("size>3%", "within"),
        ("size>2.9%", "exceeds, certain"),
    ],
)
def test_only_an_interval_that_is_beyond_the_value_as_a_whole_is_certain(text: str, outcome: str) -> None:
    found = difference(SLOWER, MAYBE_SLOWER, FASTER_POINT, LESS_ACCURATE, LARGER)
    verdict = judge(parse_condition(text), found)
    assert [item.outcome for item in verdict.judged] == [outcome]
    assert verdict.failed == (outcome == "exceeds, certain")


def test_a_condition_without_a_place_is_about_all_widths_and_points() -> None:
    measured = SLOWER, MAYBE_SLOWER, FASTER_POINT
    assert outcomes("latency>3%", *measured) == ["exceeds, certain", "exceeds, not certain", "within"]
    assert outcomes("latency>3%:width", *measured) == ["exceeds, certain", "exceeds, not certain"]
    assert outcomes("latency>3%:point", *measured) == ["within"]


def test_a_size_is_that_of_the_artifact_with_its_weights() -> None:
    assert outcomes("size>5%", LARGER, LARGER_RECIPE) == ["within"]


def test_what_the_bundles_record_of_their_points_is_not_judged() -> None:
    assert outcomes("accuracy-drop>2%", LESS_ACCURATE, RECORDED) == ["within"]
    needed = "--predictions-a and --predictions-b, of the same artifact on the same device"
    assert refusal("accuracy-drop>2%", difference(RECORDED)).endswith(f"without measurements; give {needed}")


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("latency>3%", "give --latency-a and --latency-b, of"),
        ("latency>3%:width=1", "give --latency-a and --latency-b, of"),
        ("latency>3%:point=fast", "give --latency-a, --latency-b, --predictions-a and --predictions-b, of"),
        ("accuracy-drop>1%", "give --predictions-a and --predictions-b, of"),
    ],
)
def test_what_nobody_measured_does_not_pass(text: str, needed: str) -> None:
    assert f"cannot be judged without measurements; {needed}" in refusal(text, difference(LARGER))


def test_a_width_or_point_that_was_not_compared_does_not_pass() -> None:
    found = difference(SLOWER, MAYBE_SLOWER, FASTER_POINT)
    assert refusal("latency>3%:width=7", found).endswith("no width 7 to compare; valid: 0, 1")
    assert refusal("latency>3%:point=slow", found).endswith("no point slow to compare; valid: fast")
    assert refusal("size>3%", found).endswith("the bundles have nothing of the kind in common")


def test_a_figure_that_could_not_be_compared_does_not_pass_unless_the_condition_is_about_another_one() -> None:
    found = difference(SLOWER, not_compared=(NotCompared("latency", NARROW, "4 and 20 blocks; a ratio needs 5"),))
    assert "width 0, litert int8 on phone: 4 and 20 blocks" in refusal("latency>9%", found)
    assert not judge(parse_condition("latency>9%:width=1"), found).failed
