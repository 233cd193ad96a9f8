"""Cases of every policy (docs/policies.md): which widths run. What is expected comes from 60-digit decimal arithmetic,
rounded to float64 once, so that no implementation is its own judge."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from edge.bundle.manifest import CascadePolicy, Policy, ThresholdPolicy, TreePolicy, UtilityPolicy
from edge.bundle.policies import TreeNode

DIGITS = 60
GATES = (1, 2, 4, 14)
CLASSES = (2, 3, 14)
WIDTHS = 14
RANDOM_CASES = 16
"""Of each kind."""
Rows = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Case:
    """What goes in, and what an implementation must find."""

    name: str
    """Starts with "exact" where the case lies on a boundary: every step of its arithmetic is exact in float64."""
    policy: Policy
    ran: list[int]
    """The widths that run, in their order; the last one answers."""
    gate_logits: list[float] | None = None
    """float32 [m]; None: no gate is asked, or several are."""
    gates: list[list[float]] | None = None
    """float32, of a tree: what the gate at each depth says, whatever way the image has come."""
    logits: list[list[float]] | None = None
    """float32 [w][classes], what each width answers; None: any."""
    score: float | None = None
    scores: list[float] | None = None
    """Of the gates of the nodes that the image comes to, from the root on."""
    utilities: list[float] | None = None
    confidences: list[float] | None = None
    """Of the widths that ran."""

    def record(self) -> dict[str, Any]:
        """Return the case as JSON; fields without a value are left out."""
        fields = asdict(self) | {"policy": self.policy.model_dump(mode="json")}
        return {name: value for name, value in fields.items() if value is not None}


def rounding(count: int) -> float:
    """Return how far two scores, or confidences, of `count` logits may lie apart, relative to themselves."""
    return (count + 2) * 2.0**-50


def utility_rounding(policy: UtilityPolicy, gate_logits: Sequence[float], position: int) -> float:
    """Return how far two utilities of one width may lie apart."""
    terms = [weight * logit for weight, logit in zip(policy.weights[position], gate_logits, strict=True)]
    size = sum(map(abs, [*terms, policy.biases[position]]))
    return ((len(gate_logits) + 1) * size + 4 * abs(policy.penalties[position]) + 20) * 2.0**-53


def distances(case: Case) -> Iterator[tuple[float, float]]:
    """Yield, for every comparison that decides, how far its sides lie apart and how far rounding may move them."""
    if isinstance(case.policy, ThresholdPolicy) and case.score is not None and case.gate_logits is not None:
        for threshold in case.policy.thresholds:
            yield abs(case.score - threshold), rounding(len(case.gate_logits)) * case.score
    elif isinstance(case.policy, TreePolicy) and case.scores is not None and case.gates is not None:
        for node, score, logits in zip(nodes(case.policy, case.scores), case.scores, case.gates, strict=False):
            for threshold in node.thresholds:
                yield abs(score - threshold), rounding(len(logits)) * score
    elif isinstance(case.policy, UtilityPolicy) and case.utilities is not None and case.gate_logits is not None:
        moves = [utility_rounding(case.policy, case.gate_logits, at) for at in range(len(case.utilities))]
        best = case.policy.widths.index(case.ran[0])
        for at, utility in enumerate(case.utilities):
            if at != best:
                yield case.utilities[best] - utility, moves[best] + moves[at]
    elif isinstance(case.policy, CascadePolicy) and case.confidences is not None and case.logits is not None:
        for found, least, logits in zip(case.confidences, case.policy.confidences, case.logits, strict=False):
            yield abs(found - least), rounding(len(logits)) * found


def nodes(policy: TreePolicy, scores: Sequence[float]) -> list[TreeNode]:
    """Return the nodes that an image of these scores comes to, from the root on."""
    found: list[TreeNode] = []
    place: TreeNode | int = policy.root
    while isinstance(place, TreeNode):
        found.append(place)
        place = place.next[sum(threshold < scores[len(found) - 1] for threshold in place.thresholds)]
    return found


def cases() -> list[Case]:
    """Return all cases: chosen ones, then random ones from a fixed seed."""
    random = np.random.default_rng(8)
    found = [*_chosen_thresholds(), *_chosen_utilities(), *_chosen_cascades(), *_chosen_trees()]
    for number in range(RANDOM_CASES):
        scale, widths = (0.5, 3.0, 30.0, 300.0)[number % 4], _widths(random, number)
        found += [
            _random_thresholds(random, f"random {number}", scale, widths),
            _random_utility(random, f"random {number}", scale, widths),
            _random_cascade(random, f"random {number}", scale, widths),
        ]
    random = np.random.default_rng(9)
    for number in range(RANDOM_CASES):
        found.append(_random_tree(random, f"random {number}", (0.5, 3.0, 30.0, 300.0)[number % 4]))
    return found


def _chosen_thresholds() -> list[Case]:
    four, fourteen = [0, 4, 9, 13], list(range(WIDTHS))
    largest = float(np.finfo(np.float32).max)
    return [
        _thresholds("exact: a score at its threshold is not above it", [0.0, 0.0], [0.5], [0, 1]),
        _thresholds("easy", [3.0, -3.0], [0.5], [0, 1]),
        _thresholds("hard", [-3.0, 3.0], [0.5], [0, 1]),
        _thresholds("equal thresholds skip a width", [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 2.0], four),
        _thresholds("harder than every threshold", [0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 2.0], four),
        _thresholds("just above two equal thresholds", [-1.0, 5.0, -1.0, 0.0], [1.0, 1.0, 2.0], four),
        _thresholds("exact: at two equal thresholds", [-1000.0, 0.0, -1000.0, -1000.0], [1.0, 1.0, 2.0], four),
        _thresholds("exact: as easy as can be", [1000.0, -1000.0], [0.0], [2, 5]),
        _thresholds("exact: as hard as can be", [-1000.0, 1000.0], [1.0], [2, 5]),
        _thresholds("exact: two largest logits", [1000.0, -1000.0, 1000.0, -1000.0], [1.0], [3, 4]),
        _thresholds("the ends of float32", [-largest, largest], [0.25], [3, 4]),
        _thresholds("one width is never chosen", [1.0, 2.0, 3.0], [], [7]),
        _thresholds("exact: one gate logit has the score 0", [5.0], [0.0], [0, 1]),
        _thresholds("one gate logit above a negative threshold", [-5.0], [-0.5], [0, 1]),
        _thresholds("thresholds beyond every score", [0.0, 4.0], [1.5, 1e300], [0, 1, 2]),
        _thresholds("thresholds below every score", [0.0, 4.0], [-1e300, -1.5], [0, 1, 2]),
        _thresholds("14 widths by 14 logits", [0.25 * j for j in range(14)], [0.5 + j for j in range(13)], fourteen),
        _thresholds("14 widths by 2 logits", [0.0, 0.625], [(j + 1) / 14 for j in range(13)], fourteen),
    ]


def _chosen_utilities() -> list[Case]:
    falls, rises = [4.0, -4.0], [-4.0, 4.0]
    flat, steep, none = [[0.0]] * 3, [[1.0]] * 2, [0.0, 0.0]
    return [
        _utility("exact: the first of equal utilities", [1.0], flat, [0.0] * 3, [0.25] * 3, [1, 4, 6]),
        _utility("exact: two later ones are equal", [0.0], flat, [0.0] * 3, [0.5, 0.25, 0.25], [1, 4, 6]),
        _utility("exact: certain at every width", [1000.0], steep, none, none, [0, 1]),
        _utility("certain at every width, the narrow one is cheaper", [1000.0], steep, none, [0.0, 0.5], [0, 1]),
        _utility("hopeless at every width, the narrow one is cheaper", [-1000.0], steep, none, [0.25, 0.5], [0, 1]),
        _utility("only the wide one is right", [-1.0, 1.0], [falls, rises], none, [0.1, 0.2], [3, 8]),
        _utility("only the narrow one is right", [1.0, -1.0], [falls, rises], none, [0.1, 0.2], [3, 8]),
        _utility("the wide one is right, but dear", [-1.0, 1.0], [falls, rises], none, [0.0, 1.5], [3, 8]),
        _utility("all utilities are negative", [0.0, 0.0], [rises, falls], [0.5, 1.0], [3.0, 2.5], [0, 13]),
        _utility("biases decide", [0.0] * 4, [[1.0] * 4] * 3, [-1.0, 2.0, 1.0], [0.0] * 3, [0, 1, 2]),
        _utility("one width is never chosen", [1.0, 2.0], [[1.0, 1.0]], [0.0], [0.5], [7]),
        _utility("logits that cancel", [500.0, 500.0], [[1.0, -1.0], [1.0, -0.998]], none, [0.0, 0.2], [0, 1]),
    ]


def _chosen_cascades() -> list[Case]:
    sure, unsure, torn = [9.0, 0.0, 0.0], [0.5, 0.25, 0.0], [0.0, 0.0, 0.0, 0.0]
    return [
        _cascade("sure at once", [sure, unsure, unsure], [0.9, 0.9], [0, 1, 2]),
        _cascade("sure at the second width", [unsure, sure, unsure], [0.9, 0.9], [0, 4, 9]),
        _cascade("never sure", [unsure, unsure, unsure], [0.9, 0.9], [0, 4, 9]),
        _cascade("each width has a confidence of its own", [unsure, unsure, sure], [0.5, 0.25], [0, 4, 9]),
        _cascade("exact: a confidence at its limit is enough", [torn, torn], [0.25], [2, 3]),
        _cascade("exact: certain", [[-1000.0, 1000.0], [0.0, 0.0]], [1.0], [0, 13]),
        _cascade("exact: two largest logits", [[1000.0, 1000.0, -1000.0], [0.0, 0.0, 0.0]], [0.5], [0, 13]),
        _cascade("a limit of 0 is always met", [torn, torn], [0.0], [0, 1]),
        _cascade("a limit above 1 is never met", [sure, unsure], [1.5], [0, 1]),
        _cascade("one width has nothing to ask", [unsure], [], [7]),
        _cascade("logits far below 0", [[-999.0, -1000.0], [-1000.0, -990.0]], [0.75], [0, 1]),
        _cascade(
            "14 widths, the last is asked", [[0.125 * at, 0.0] for at in range(14)], [0.9] * 13, list(range(WIDTHS))
        ),
        _cascade(
            "14 widths, the ninth is sure", [[0.5 * at, 0.0] for at in range(14)], [0.98] * 13, list(range(WIDTHS))
        ),
    ]


def _chosen_trees() -> list[Case]:
    easy, torn, hard = [3.0, -3.0], [0.0, 0.0], [-3.0, 3.0]
    two = _node([0.5], _node([0.5], 0, 1), _node([0.5], 2, 3))
    uneven = _node([0.25, 0.75], 0, _node([1.0], 3, 5), _node([], _node([0.5, 0.5], 7, 8, 9)))
    return [
        _tree("easy, then easy", [easy, easy], two),
        _tree("easy, then hard", [easy, hard], two),
        _tree("hard, then easy", [hard, easy], two),
        _tree("hard, then hard", [hard, hard], two),
        _tree("exact: at both thresholds", [torn, torn], two),
        _tree("exact: at the first threshold, hard at the second gate", [torn, hard], two),
        _tree("exact: hard at the first gate, at the second threshold", [hard, torn], two),
        _tree("a width beside nodes: no further gate is asked", [easy], uneven),
        _tree("gates have numbers of logits of their own", [[1.0, 1.0], [0.0, 2.0, 4.0]], uneven),
        _tree("a node with one way on decides nothing", [hard, [9.0, 0.0, 0.0], [0.0, 1.0]], uneven),
        _tree("exact: equal thresholds skip a width at the third gate", [hard, [9.0, 0.0, 0.0], torn], uneven),
        _tree("the first gate has nothing to decide", [hard, easy], _node([], _node([0.5], 4, 6))),
        _tree(
            "the first gate decides everything, and tells widths apart by more than their order",
            [hard],
            _node([0.25, 0.75], 2, 1, 0),
        ),
        _tree("one width at two places", [[0.5, 0.0], easy], _node([0.125, 0.5], 1, _node([0.5], 1, 2), 3)),
        _tree("one width is never chosen", [hard], _node([], 7)),
        _tree("eight gates, always hard", [hard] * 8, _comb(8)),
        _tree("eight gates, easy at the last", [*[hard] * 7, easy], _comb(8)),
        _tree("eight gates, easy at the fourth", [*[hard] * 3, easy], _comb(8)),
    ]


def _node(thresholds: list[float], *ways: TreeNode | int) -> TreeNode:
    return TreeNode(thresholds=thresholds, next=list(ways))


def _comb(depth: int, first: int = 0) -> TreeNode:
    """Return a tree in which every gate lets easy images out, at ever wider widths."""
    return _node([0.5], first, first + 1 if depth == 1 else _comb(depth - 1, first + 1))


def _random_tree(random: np.random.Generator, name: str, scale: float) -> Case:
    counts = [int(count) for count in random.choice(GATES[1:], int(random.integers(2, 5)))]
    widths = iter(range(4 ** len(counts)))

    def grown(depth: int) -> TreeNode | int:
        if depth == len(counts) or (depth and random.random() < 0.2):
            return next(widths)
        ways = [grown(depth + 1) for _ in range(int(random.integers(1, 4)))]
        return _node(sorted(random.uniform(0, counts[depth] - 1, len(ways) - 1).tolist()), *ways)

    root = grown(0)
    assert isinstance(root, TreeNode)
    return _tree(name, [_float32(random, scale, count) for count in counts[: root.depth]], root)


def _random_thresholds(random: np.random.Generator, name: str, scale: float, widths: list[int]) -> Case:
    count = int(random.choice(GATES[1:]))
    thresholds = sorted(random.uniform(0, count - 1, len(widths) - 1).tolist())
    return _thresholds(name, _float32(random, scale, count), thresholds, widths)


def _random_utility(random: np.random.Generator, name: str, scale: float, widths: list[int]) -> Case:
    count, rows = int(random.choice(GATES)), len(widths)
    weights = (random.standard_normal((rows, count)) * 2 / scale).tolist()
    biases, penalties = random.standard_normal(rows).tolist(), sorted(random.uniform(0, 0.5, rows).tolist())
    return _utility(name, _float32(random, scale, count), weights, biases, penalties, widths)


def _random_cascade(random: np.random.Generator, name: str, scale: float, widths: list[int]) -> Case:
    count = int(random.choice(CLASSES))
    logits = [_float32(random, scale, count) for _ in widths]
    return _cascade(name, logits, random.uniform(0.3, 1, len(widths) - 1).tolist(), widths)


def _widths(random: np.random.Generator, number: int) -> list[int]:
    """Return some of the widths, in every fourth case all of them."""
    count = WIDTHS if number % 4 == 3 else int(random.integers(2, 6))
    return sorted(random.choice(WIDTHS, count, replace=False).tolist())


def _float32(random: np.random.Generator, scale: float, count: int) -> list[float]:
    return [float(value) for value in (random.standard_normal(count) * scale).astype(np.float32)]


def _thresholds(name: str, gate_logits: list[float], thresholds: list[float], widths: list[int]) -> Case:
    policy = ThresholdPolicy(widths=widths, thresholds=thresholds)
    score = _score(gate_logits)
    ran = widths[sum(threshold < score for threshold in thresholds)]
    return Case(name, policy, [ran], gate_logits, score=score if policy.asks_gate else None)


def _tree(name: str, gates: list[list[float]], root: TreeNode) -> Case:
    policy = TreePolicy(widths=sorted(set(root.leaves)), root=root)
    scores: list[float] = []
    place: TreeNode | int = root
    while isinstance(place, TreeNode):
        scores.append(_score(gates[len(scores)]))
        place = place.next[sum(threshold < scores[-1] for threshold in place.thresholds)]
    return Case(name, policy, [place], gates=gates, scores=scores if policy.asks_gate else None)


def _score(gate_logits: Sequence[float]) -> float:
    weights, total = _softmax(gate_logits)
    return float(sum(j * weight for j, weight in enumerate(weights)) / total)


def _utility(
    name: str, gate_logits: list[float], weights: Rows, biases: list[float], penalties: list[float], widths: list[int]
) -> Case:
    policy = UtilityPolicy(widths=widths, weights=[list(row) for row in weights], biases=biases, penalties=penalties)
    utilities = [
        _sigmoid(row, bias, gate_logits) - penalty
        for row, bias, penalty in zip(policy.weights, biases, penalties, strict=True)
    ]
    ran = widths[utilities.index(max(utilities))]
    return Case(name, policy, [ran], gate_logits, utilities=utilities if policy.asks_gate else None)


def _cascade(name: str, logits: Rows, confidences: list[float], widths: list[int]) -> Case:
    found = [float(1 / _softmax(row)[1]) for row in logits]
    count = 1
    while count < len(widths) and found[count - 1] < confidences[count - 1]:
        count += 1
    policy = CascadePolicy(widths=widths, confidences=confidences)
    return Case(name, policy, widths[:count], logits=[list(row) for row in logits], confidences=found[:count])


def _softmax(logits: Sequence[float]) -> tuple[list[Decimal], Decimal]:
    """Return exp(logit − largest logit) of every logit, and their sum."""
    with localcontext(prec=DIGITS):
        exact = [Decimal(logit) for logit in logits]
        weights = [(logit - max(exact)).exp() for logit in exact]
        return weights, sum(weights, Decimal(0))


def _sigmoid(weights: Sequence[float], bias: float, gate_logits: Sequence[float]) -> float:
    with localcontext(prec=DIGITS):
        terms = [Decimal(weight) * Decimal(logit) for weight, logit in zip(weights, gate_logits, strict=True)]
        return float(1 / (1 + (-sum(terms, Decimal(bias))).exp()))
