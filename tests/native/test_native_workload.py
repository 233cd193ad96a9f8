"""The Python side of the runner: a workload like any other, and errors of one line whatever the process does."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle, open_bundle
from edge.devices.native import (
    NativeProcess,
    NativeWorkload,
    find_runner,
    needed_programs,
    runtime_version,
)
from edge.devices.timed_policy import timed_policy
from edge.errors import BundleError, EdgeError, MeasurementError, RuntimeUnavailableError
from edge.profiling.profile import plan_units, resident_programs
from tests.native.conversation import Command


def python(code: str) -> Command:
    """Return a command that starts a runner of a few lines of Python."""
    return [sys.executable, "-c", f"import json, os, signal, sys\n{code}"]


def workload(runner: Command, bundle: Bundle, *programs: str, artifact: Artifact | None = None) -> NativeWorkload:
    return NativeWorkload(bundle, artifact or bundle.artifact("executorch", "fp32"), programs, command=runner)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_blocks_of_every_unit_have_as_many_times_as_runs(runner: Command, first: Bundle, precision: str) -> None:
    programs = ["prefix", "tail_00", "tail_01"]
    with NativeWorkload(first, first.artifact("executorch", precision), programs, 2, runner) as timed:
        for units in (["prefix"], ["tail_01"], ["prefix", "tail_00"]):
            samples = timed.run_block(units, 7)
            assert len(samples) == 7
            assert min(samples) > 0
        assert timed.canary_ms() > 0
        assert timed.runtime_version == runtime_version(runner)


def test_a_tail_brings_the_prefix_that_it_reads(runner: Command, first: Bundle) -> None:
    with workload(runner, first, "tail_01") as timed:
        assert len(timed.run_block(["tail_01"], 3)) == 3
        assert len(timed.run_block(["prefix", "tail_01"], 3)) == 3


def test_a_program_brings_all_that_makes_the_features_that_it_reads(two_gates: Bundle) -> None:
    artifact = two_gates.artifact("executorch", "fp32")
    needed = [program.name for program in needed_programs(artifact, ["tail_01_02"])]
    assert needed == ["prefix", "stage_1_01", "tail_01_02"]
    assert needed_programs(artifact, [program.name for program in artifact.programs]) == artifact.programs


def test_what_decides_while_programs_are_timed_is_asked_at_every_gate(two_gates: Bundle, first: Bundle) -> None:
    wide = {"thresholds": [0.0, 0.0], "next": [2, 3, 4]}
    root = {"thresholds": [0.0], "next": [{"thresholds": [0.0], "next": [0, 1]}, wide]}
    assert timed_policy(two_gates.artifact("executorch", "fp32")).model_dump() == {
        "kind": "tree",
        "widths": [0, 1, 2, 3, 4],
        "root": root,
    }
    one = timed_policy(first.artifact("executorch", "fp32"))
    assert one.root.model_dump() == {"thresholds": [0.0], "next": [0, 1]}


def test_every_unit_of_a_network_with_two_gates_is_timed(runner: Command, two_gates: Bundle) -> None:
    artifact = two_gates.artifact("executorch", "int8")
    units = plan_units(artifact)
    assert ("prefix", "stage_1_01", "tail_01_02") in units
    with workload(runner, two_gates, *resident_programs(artifact, units), artifact=artifact) as timed:
        for unit in units:
            assert len(timed.run_block(unit, 2)) == 2


def test_the_version_names_runtime_and_runner(runner: Command) -> None:
    runtime, _, ours = runtime_version(runner).partition(" (")
    assert runtime.startswith("executorch 1.")
    assert ours.startswith("dsnet-runner ")


def test_only_programs_asked_for_are_loaded(runner: Command, first: Bundle) -> None:
    with (
        workload(runner, first, "prefix") as timed,
        pytest.raises(RuntimeUnavailableError, match="no unit tail_00 is loaded; loaded: prefix"),
    ):
        timed.run_block(["tail_00"], 1)


def test_an_altered_store_is_refused_before_the_runner_sees_it(first: Bundle, tmp_path: Path) -> None:
    root = copytree(first.root, tmp_path / "bundle")
    store = root / "executorch" / "weights.bin"
    store.write_bytes(bytes([store.read_bytes()[0] ^ 1]) + store.read_bytes()[1:])
    with pytest.raises(BundleError, match=r"weights\.bin: its SHA-256"):
        workload(python("print('dsnet-runner 1, executorch 1')"), open_bundle(root), "prefix")


def test_programs_that_are_not_what_the_manifest_says_are_refused(runner: Command, first: Bundle) -> None:
    artifact = first.artifact("executorch", "fp32")
    prefix = artifact.programs[0]
    image = prefix.inputs[0].model_copy(update={"shape": [1, 3, 9, 9]})
    changed = artifact.model_copy(
        update={"programs": [prefix.model_copy(update={"inputs": [image]}), *artifact.programs[1:]]}
    )
    with pytest.raises(BundleError, match=r"the inputs of prefix are .* in the file and .* in the manifest"):
        workload(runner, first, "prefix", artifact=changed)


def test_unknown_programs_and_other_runtimes_are_refused(runner: Command, first: Bundle) -> None:
    with pytest.raises(BundleError, match="no program tail_07 in this artifact; it has prefix, tail_00, tail_01"):
        workload(runner, first, "tail_07")
    litert = first.artifact("executorch", "fp32").model_copy(update={"runtime": "litert"})
    with pytest.raises(RuntimeUnavailableError, match="runs executorch artifacts, not litert ones"):
        workload(runner, first, "prefix", artifact=litert)


def test_weights_missing_from_the_manifest_are_named(runner: Command, first: Bundle) -> None:
    manifest = first.manifest.model_copy(update={"weights": first.manifest.weights[1:]})
    with pytest.raises(BundleError, match="executorch fp32 has no store in `weights`"):
        workload(runner, replace(first, manifest=manifest), "prefix")


def test_a_refusal_is_told_in_the_runners_own_words(runner: Command) -> None:
    with (
        NativeProcess(runner) as process,
        pytest.raises(RuntimeUnavailableError, match=r'^dsnet-runner: command: do: expected load, .*found "dance"$'),
    ):
        process.ask({"do": "dance"})


def test_a_bad_option_is_told_as_the_first_answer(runner: Command) -> None:
    with NativeProcess(runner, threads=0) as process, pytest.raises(RuntimeUnavailableError, match="--threads takes"):
        process.ask({"do": "canary"})


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("sys.exit('first\\nlast words')", r"ended without an answer \(exit status 1\): last words"),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"ended without an answer \(signal SIGKILL\)"),
        ("sys.stdin.readline(); print('{\"canary_ms\": 1', end='')", r"ended without an answer \(exit status 0\)"),
        ("sys.stdin.readline(); print('hello')", "its answer cannot be read: not JSON"),
        ("sys.stdin.readline(); print('[1]')", r"its answer is no JSON object: \[1\]"),
        ("sys.stdin.readline(); print('{\"a\": NaN}')", "its answer cannot be read: NaN is not a JSON number"),
        ('sys.stdin.readline(); print(\'{"a": 1, "a": 2}\')', "appears twice"),
        ("sys.stdin.readline(); sys.stdout.buffer.write(b'\\xff\\n')", "not UTF-8"),
    ],
)
def test_a_process_that_gives_no_answer_is_an_error_of_one_line(code: str, reason: str) -> None:
    with NativeProcess(python(code)) as process, pytest.raises(EdgeError, match=reason) as caught:
        process.ask({"do": "canary"})
    assert "\n" not in str(caught.value)


ANSWERING = """
if '--version' in sys.argv:
    print('dsnet-runner 1.0, executorch 1.0')
for line in sys.stdin:
    command = json.loads(line)
    print(json.dumps(answer if command['do'] != 'load' else loaded[command['unit']]), flush=True)
"""


@pytest.mark.parametrize(
    "answer",
    [{}, {"samples_ms": [1.0]}, {"samples_ms": [1.0, "2"]}, {"samples_ms": [1.0, -1.0]}, {"samples_ms": [True, 1.0]}],
)
def test_answers_that_are_no_times_are_refused(first: Bundle, answer: dict[str, object]) -> None:
    prefix = first.artifact("executorch", "fp32").programs[0]
    loaded = {
        prefix.name: {
            "inputs": [{"dtype": tensor.dtype, "shape": tensor.shape} for tensor in prefix.inputs],
            "outputs": [{"dtype": tensor.dtype, "shape": tensor.shape} for tensor in prefix.outputs],
        }
    }
    script = f"answer, loaded = json.loads({json.dumps(answer)!r}), json.loads({json.dumps(loaded)!r}){ANSWERING}"
    with workload(python(script), first, "prefix") as timed, pytest.raises(MeasurementError, match="time"):
        timed.run_block(["prefix"], 2)


def test_a_closed_process_answers_no_more(runner: Command) -> None:
    process = NativeProcess(runner)
    process.close()
    process.close()
    with pytest.raises(MeasurementError, match="has been closed"):
        process.ask({"do": "canary"})


def test_what_is_no_runner_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match="cannot be started: No such file"):
        NativeProcess([str(tmp_path / "gone")])
    with pytest.raises(RuntimeUnavailableError, match="does not tell its version"):
        runtime_version([str(tmp_path / "gone")])
    with pytest.raises(RuntimeUnavailableError, match="is no dsnet-runner: asked for its version it says 'hello'"):
        runtime_version(python("print('hello')"))


@pytest.mark.parametrize("version", ["0.1.0", "0.1.99", "0"])
def test_a_runner_of_an_older_protocol_is_refused_in_one_line(version: str) -> None:
    with pytest.raises(RuntimeUnavailableError, match=f"is dsnet-runner {version}; this needs 0.2.0 or later: build"):
        runtime_version(python(f"print('dsnet-runner {version}, executorch 1.0')"))


@pytest.mark.parametrize("version", ["0.2.0", "0.10", "1"])
def test_a_runner_of_this_protocol_or_a_later_one_is_taken(version: str) -> None:
    found = runtime_version(python(f"print('dsnet-runner {version}, executorch 1.0')"))
    assert found == f"executorch 1.0 (dsnet-runner {version})"


def test_the_runner_is_where_the_variable_says_or_else_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "runner").write_text("#!/bin/sh\n")
    (tmp_path / "runner").chmod(0o755)
    monkeypatch.setenv("DSNET_RUNNER", str(tmp_path / "runner"))
    assert find_runner() == tmp_path / "runner"
    monkeypatch.setenv("DSNET_RUNNER", str(tmp_path / "gone"))
    with pytest.raises(RuntimeUnavailableError, match="build it: cmake -S edge/native") as caught:
        find_runner()
    assert "\n" not in str(caught.value)
