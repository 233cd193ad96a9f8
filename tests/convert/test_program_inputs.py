"""What every program reads when a conversion measures or checks it."""

from collections.abc import Sequence

from convert.program_inputs import Named, run_in_order, run_widths
from convert.slice_plan import ProgramPlan, feeding, plan_programs
from tests.gated_network import THREE_GATES

PLANS = plan_programs(THREE_GATES, range(THREE_GATES.n_widths))


def traced(plan: ProgramPlan, inputs: Sequence[Named[str]]) -> list[Named[str]]:
    """Run a program on texts that say what they went through."""
    read = [sample[plan.input_name] for sample in inputs]
    return [dict.fromkeys(plan.output_names, f"{text} {plan.name}") for text in read]


def test_a_program_reads_features_of_all_that_may_come_before_it_in_turn() -> None:
    runs = {plan.name: (plan, inputs) for plan, inputs, _ in run_in_order(PLANS, ["a", "b", "c", "d"], traced)}
    assert list(runs) == [plan.name for plan in PLANS]
    for plan, inputs in runs.values():
        givers = [other.name for other in feeding(PLANS, plan)]
        if givers:
            read = [sample["features"].split() for sample in inputs]
            assert [words[0] for words in read] == ["a", "b", "c", "d"]
            assert [words[-1] for words in read] == [givers[n % len(givers)] for n in range(4)]


def test_every_width_runs_its_own_programs_and_what_widths_share_runs_once() -> None:
    ran: list[str] = []

    def run(plan: ProgramPlan, inputs: Sequence[Named[str]]) -> list[Named[str]]:
        outputs = traced(plan, inputs)
        ran.extend(text for output in outputs for text in output.values())
        return outputs

    found = {width: outputs[0]["logits"].split()[1:] for width, outputs in run_widths(PLANS, ["a"], run)}
    assert found == {
        width: [plan.name for plan in PLANS if width in plan.widths] for width in range(THREE_GATES.n_widths)
    }
    shared = [text for text in ran if "tail" not in text]
    assert len(set(shared)) == len(shared) / 2  # features and gate logits of each
