import math

import numpy as np
import pytest

from edge.bundle.manifest import CascadePolicy, OperatingPoint, Policy, Share, ThresholdPolicy, TreePolicy
from edge.errors import BundleError
from edge.runtime import (
    AdaptivePolicy,
    AdaptiveSettings,
    Always,
    DynamicSession,
    LiteRtSession,
    Session,
    open_dynamic,
    open_session,
)
from edge.runtime.dynamic import resident_programs
from edge.runtime.policy import choose, fixed
from tests.runtime import golden
from tests.runtime.recording import SIDE_GATE, TWO_GATES, RecordingSession, artifact, bright_is_hard, hard_by, net

BALANCED = golden.bundle().operating_point("balanced").policy
CLASSES = ["circle", "square", "triangle"]


class Watched:
    """A real session whose calls are listed."""

    def __init__(self, session: Session) -> None:
        self._session, self.order = session, list[str]()

    def run(self, program, inputs):  # type: ignore[no-untyped-def]
        self.order.append(program)
        return self._session.run(program, inputs)


def expected_score(gate_logits: list[float]) -> float:
    """Σ_j j·softmax(logits)_j for two logits."""
    return 1 / (1 + math.exp(gate_logits[0] - gate_logits[1]))


@pytest.mark.parametrize("number", range(len(golden.ANSWERS)))
def test_the_gate_picks_the_width_and_that_tail_answers(number: int) -> None:
    facts = golden.ANSWERS[number]
    answer = open_dynamic(golden.bundle(), golden.artifact(), BALANCED).answer(golden.image(number))
    score = expected_score(facts["gate_logits"])
    assert answer.score == pytest.approx(score, abs=1e-9)
    assert answer.width == (1 if score > 0.5 else 0)
    logits = facts[f"tail_{answer.width:02d}"]
    assert answer.class_index == int(np.argmax(logits))
    assert answer.class_name == CLASSES[answer.class_index]
    assert answer.probability == pytest.approx(1 / sum(math.exp(value - max(logits)) for value in logits))


def test_the_golden_images_use_both_widths() -> None:
    session = open_dynamic(golden.bundle(), golden.artifact(), BALANCED)
    assert {session.answer(golden.image(number)).width for number in range(len(golden.ANSWERS))} == {0, 1}


def test_one_image_runs_the_prefix_and_one_tail() -> None:
    programs = resident_programs(golden.artifact(), [BALANCED])
    watched = Watched(LiteRtSession(golden.content(), golden.artifact(), programs))
    session = DynamicSession(watched, golden.artifact(), CLASSES, Always(BALANCED))
    assert sorted(watched.order) == ["prefix", "tail_00", "tail_01"], "each program runs once to warm up"
    watched.order.clear()
    width = session.answer(golden.image(1)).width
    assert watched.order == ["prefix", f"tail_{width:02d}"]


def test_the_parts_of_the_time_add_up() -> None:
    answer = open_dynamic(golden.bundle(), golden.artifact(), BALANCED).answer(golden.image(0))
    assert answer.prefix_ms > 0
    assert answer.tail_ms > 0
    assert answer.total_ms == pytest.approx(answer.prefix_ms + answer.tail_ms)


def test_a_fixed_width_loads_only_its_own_tail() -> None:
    assert resident_programs(golden.artifact(), [fixed(1)]) == ("prefix", "tail_01")
    session = open_dynamic(golden.bundle(), golden.artifact(), fixed(1))
    assert {session.answer(golden.image(number)).width for number in range(4)} == {1}


def test_an_unknown_width_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(BundleError, match="no width 9 in this artifact; choose from 0, 1"):
        open_dynamic(golden.bundle(), golden.artifact(), fixed(9))
    with pytest.raises(BundleError, match=r"choose from 0, .*, 7, … \(20 in all\)$"):
        resident_programs(artifact(*map(net, range(20))), [fixed(99)])


def test_a_side_gate_reads_the_image_and_so_does_the_net_it_picks() -> None:
    described = artifact(SIDE_GATE, net(0), net(1))
    policy = ThresholdPolicy(widths=[0, 1], thresholds=[0.6])
    session = RecordingSession(["gate", "net_00", "net_01"], bright_is_hard)
    dynamic = DynamicSession(session, described, CLASSES, Always(policy))
    session.calls.clear()
    dark, bright = (np.full((1, 8, 8, 3), shade, np.float32) for shade in (0.0, 1.0))
    assert (dynamic.answer(dark).width, dynamic.answer(bright).width) == (0, 1)
    assert session.order == ["gate", "net_00", "gate", "net_01"]
    assert session.calls[-1][1]["image"] is bright


def test_a_fixed_width_does_not_run_a_side_gate() -> None:
    described = artifact(SIDE_GATE, net(0), net(1))
    assert resident_programs(described, [fixed(1)]) == ("net_01",)
    session = RecordingSession(["net_01"], bright_is_hard)
    answer = DynamicSession(session, described, CLASSES, Always(fixed(1))).answer(np.ones((1, 8, 8, 3), np.float32))
    assert (answer.score, answer.prefix_ms, answer.class_index) == (None, 0.0, 1)


def test_a_bundle_without_a_gate_answers_at_a_fixed_width() -> None:
    described = artifact(net(0), net(1))
    session = RecordingSession(["net_00"], bright_is_hard)
    answer = DynamicSession(session, described, CLASSES, Always(fixed(0))).answer(np.ones((1, 8, 8, 3), np.float32))
    assert (answer.width, answer.class_name, answer.score) == (0, "circle", None)


def test_quantized_logits_are_compared_as_real_numbers() -> None:
    quantized = net(0).outputs[0].model_copy(update={"dtype": "int8", "scale": 0.5, "zero_point": -10})
    described = artifact(net(0).model_copy(update={"outputs": [quantized]}))
    session = RecordingSession(["net_00"], lambda *_: {"logits": np.array([[-10, -8, -10]], np.int8)})
    answer = DynamicSession(session, described, CLASSES, Always(fixed(0))).answer(np.ones((1, 8, 8, 3), np.float32))
    assert answer.probability == pytest.approx(math.e / (math.e + 2)), "logits 0, 1, 0"


def test_equal_thresholds_skip_a_width() -> None:
    assert choose(np.array([0.9, 1.0, 1.1]), [1.0, 1.0]).tolist() == [0, 0, 2]


def test_a_cascade_asks_no_gate_and_runs_the_next_width_only_where_one_is_unsure() -> None:
    described = artifact(SIDE_GATE, net(0), net(1))
    policy = CascadePolicy(widths=[0, 1], confidences=[0.9])
    assert resident_programs(described, [policy]) == ("net_00", "net_01")
    logits = {"sure": [5.0, 0.0, 0.0], "unsure": [1.0, 0.9, 0.8]}
    for name, ran in {"sure": ["net_00"], "unsure": ["net_00", "net_01"]}.items():
        session = RecordingSession(
            ["net_00", "net_01"], lambda *_, said=name: {"logits": np.array([logits[said]], np.float32)}
        )
        dynamic = DynamicSession(session, described, CLASSES, Always(policy))
        session.calls.clear()
        answer = dynamic.answer(np.ones((1, 8, 8, 3), np.float32))
        assert (session.order, answer.width, answer.score) == (ran, len(ran) - 1, None)


def test_a_cascade_behind_a_trunk_gate_runs_the_prefix_once() -> None:
    session = open_session(golden.bundle(), golden.artifact(), ["prefix", "tail_00", "tail_01"])
    watched = Watched(session)
    policy = CascadePolicy(widths=[0, 1], confidences=[1.5])
    dynamic = DynamicSession(watched, golden.artifact(), CLASSES, Always(policy))
    watched.order.clear()
    assert dynamic.answer(golden.image(0)).width == 1
    assert watched.order == ["prefix", "tail_00", "tail_01"]


def expecting(name: str, mean_ms: float, accuracy: float, **changes: object) -> OperatingPoint:
    """Return a golden operating point that expects `mean_ms` of each of its widths."""
    point = golden.bundle().operating_point(name)
    policy = changes.get("policy", point.policy)
    shares = [Share(width=width, share=1 / len(policy.widths), mean_ms=mean_ms) for width in policy.widths]
    fields = {"shares": shares, "expected_mean_ms": mean_ms, "calibration_accuracy": accuracy, **changes}
    return point.model_copy(update=fields)


def test_a_device_slower_than_calibrated_is_answered_by_the_cheaper_point() -> None:
    points = [expecting("balanced", 2e-6, 0.8), expecting("fast", 1e-6, 0.7)]
    session = open_dynamic(golden.bundle(), golden.artifact(), AdaptivePolicy(points, target_ms=3e-6))
    answers = [session.answer(golden.image(number % 4)) for number in range(8)]
    assert [answer.operating_point for answer in answers] == ["balanced"] * 4 + ["fast"] * 4
    assert {answer.width for answer in answers[4:]} == {0}
    assert answers[0].slowdown == 1
    assert answers[7].slowdown > 1.05


def test_a_device_faster_than_calibrated_is_answered_by_the_better_point_after_a_while() -> None:
    points = [expecting("fast", 1e6, 0.7), expecting("balanced", 2e6, 0.8)]
    settings = AdaptiveSettings(dwell_s=1e-9)
    session = open_dynamic(golden.bundle(), golden.artifact(), AdaptivePolicy(points, 1.5e6, settings))
    answers = [session.answer(golden.image(number % 4)) for number in range(30)]
    assert [answer.operating_point for answer in answers] == ["fast"] * 16 + ["balanced"] * 14
    assert {answer.width for answer in answers[16:]} == {0, 1}


def test_all_points_programs_stay_loaded_and_each_image_runs_only_those_of_its_own() -> None:
    described = artifact(SIDE_GATE, net(0), net(1))
    gated = ThresholdPolicy(widths=[0, 1], thresholds=[0.6])
    points = [expecting("balanced", 2e-6, 0.8, policy=gated), expecting("fast", 1e-6, 0.7, policy=fixed(0))]
    policy = AdaptivePolicy(points, target_ms=3e-6)
    assert resident_programs(described, policy.policies) == ("gate", "net_00", "net_01")
    session = RecordingSession(["gate", "net_00", "net_01"], bright_is_hard)
    dynamic = DynamicSession(session, described, CLASSES, policy)
    assert session.order == ["gate", "net_00", "net_01"], "each runs once to warm up"
    session.calls.clear()
    answers = [dynamic.answer(np.ones((1, 8, 8, 3), np.float32)) for _ in range(6)]
    assert session.order == ["gate", "net_01"] * 4 + ["net_00"] * 2
    assert [answer.score is None for answer in answers] == [False] * 4 + [True] * 2


def test_one_policy_answers_without_a_name_or_a_slowdown() -> None:
    answer = open_dynamic(golden.bundle(), golden.artifact(), BALANCED).answer(golden.image(0))
    assert (answer.operating_point, answer.slowdown) == (None, None)


IMAGE = np.ones((1, 8, 8, 3), np.float32)
EASY, HARD = -5.0, 5.0
TREE = TreePolicy.model_validate(
    {
        "widths": [0, 1, 2, 3],
        "root": {
            "thresholds": [0.5],
            "next": [{"thresholds": [0.5], "next": [0, 1]}, {"thresholds": [0.5], "next": [2, 3]}],
        },
    }
)


def two_gates(policy: Policy, **shades: float) -> tuple[RecordingSession, DynamicSession]:
    """Return a session of a network with two gates that find images as hard as said, by program."""
    session = RecordingSession(list(resident_programs(TWO_GATES, [policy])), hard_by(shades))
    dynamic = DynamicSession(session, TWO_GATES, CLASSES, Always(policy))
    session.calls.clear()
    return session, dynamic


@pytest.mark.parametrize(
    ("shades", "ran", "width"),
    [
        ({"prefix": EASY, "stage_1_00": EASY}, ["prefix", "stage_1_00", "tail_00_00"], 0),
        ({"prefix": EASY, "stage_1_00": HARD}, ["prefix", "stage_1_00", "tail_00_01"], 1),
        ({"prefix": HARD, "stage_1_01": EASY}, ["prefix", "stage_1_01", "tail_01_00"], 2),
        ({"prefix": HARD, "stage_1_01": HARD}, ["prefix", "stage_1_01", "tail_01_01"], 3),
    ],
)
def test_every_gate_on_the_way_decides_by_a_tree(shades: dict[str, float], ran: list[str], width: int) -> None:
    session, dynamic = two_gates(TREE, **shades)
    answer = dynamic.answer(IMAGE)
    assert (session.order, answer.width) == (ran, width)
    assert answer.score == pytest.approx(expected_score([0.0, shades["prefix"]])), "the first gate's"


def test_a_program_reads_the_features_of_the_one_before_it_on_its_path() -> None:
    session, dynamic = two_gates(TREE, prefix=HARD, stage_1_01=EASY)
    dynamic.answer(IMAGE)
    read = {program: float(inputs["features"][0, 0]) for program, inputs in session.calls[1:]}
    assert read == {"stage_1_01": len("prefix"), "tail_01_00": len("stage_1_01")}


def test_thresholds_and_utility_are_decided_by_the_first_gate_alone() -> None:
    session, dynamic = two_gates(ThresholdPolicy(widths=[0, 1], thresholds=[0.5]), prefix=EASY, stage_1_00=HARD)
    assert (dynamic.answer(IMAGE).width, session.order) == (0, ["prefix", "stage_1_00", "tail_00_00"])


def test_a_width_at_the_root_of_a_tree_is_final_whatever_the_next_gate_says() -> None:
    root = {"thresholds": [0.5], "next": [1, {"thresholds": [0.5], "next": [2, 3]}]}
    policy = TreePolicy.model_validate({"widths": [1, 2, 3], "root": root})
    session, dynamic = two_gates(policy, prefix=EASY, stage_1_00=EASY)
    assert dynamic.answer(IMAGE).width == 1
    assert "tail_00_00" not in session.programs, "no image can get width 0, so its tail is not loaded"


def test_a_node_with_one_way_on_leaves_the_decision_to_the_next_gate() -> None:
    root = {"thresholds": [], "next": [{"thresholds": [0.5], "next": [2, 3]}]}
    _, dynamic = two_gates(TreePolicy.model_validate({"widths": [2, 3], "root": root}), prefix=EASY, stage_1_01=HARD)
    assert dynamic.answer(IMAGE).width == 3


def test_a_cascade_over_paths_runs_once_what_its_widths_share() -> None:
    session, dynamic = two_gates(CascadePolicy(widths=[0, 1, 3], confidences=[1.5, 1.5]))
    assert dynamic.answer(IMAGE).width == 3
    assert session.order == ["prefix", "stage_1_00", "tail_00_00", "tail_00_01", "stage_1_01", "tail_01_01"]
