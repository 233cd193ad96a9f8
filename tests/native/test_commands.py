"""What the runner is asked wrongly: one line of JSON that says why, exit status 2."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.reader import Bundle
from tests.native.conversation import Command, converse, load


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not JSON", "not JSON"),
        ("[]", "expected an object, found a list"),
        ('{"do": "canary", "do": "memory"}', 'key "do" appears twice'),
        ("{}", "the field do is missing"),
        ('{"do": "dance"}', "expected load, image, block, classify, outputs, canary or memory"),
        ('{"do": 3}', "command: do: expected text, found 3"),
        ('{"do": "block", "units": ["x"], "runs": 1}', "no unit x is loaded; loaded: none"),
        ('{"do": "block", "units": ["x"], "runs": 0}', "command: runs: expected an integer from 1 to 1000000, found 0"),
        ('{"do": "block", "units": "x", "runs": 1}', "command: units: expected a list"),
        ('{"do": "block", "units": [1], "runs": 1}', "command: units: expected a list of texts"),
        ('{"do": "block", "units": ["x"], "runs": 1, "policy": ["a"]}', "policy: expected an object, found a list"),
        ('{"do": "image", "file": "/nonexistent"}', "/nonexistent: cannot be read: No such file"),
        ('{"do": "image", "file": "/"}', "/: not a plain file"),
        ('{"do": "outputs", "unit": "x", "to": "x.bin"}', "no unit x is loaded"),
        ("[" * 100, "nested deeper than 64 levels"),
        ('{"do": "canary", "x": ' + '{"a":' * 100, "nested deeper than 64 levels"),
        ('{"do": "\\ud800"}', "not JSON"),
    ],
)
def test_a_bad_line_is_refused_by_name(runner: Command, line: str, reason: str) -> None:
    assert reason in converse(runner, [line]).error


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"role": "trunk"}, "expected prefix, stage, tail, gate or net"),
        ({"widths": 0}, "command: widths: expected a list, found 0"),
        ({"role": "gate"}, "1 inputs and 2 outputs; its role has 1 and 1"),
        ({"widths": [0, 256]}, "integers from 0 to 255, found 256"),
        ({"method": "tail_07"}, "no method tail_07; it has prefix, tail_00, tail_01"),
        ({"pte": "/nonexistent.pte"}, "/nonexistent.pte: cannot be read: No such file"),
        ({"pte": __file__}, "no ExecuTorch program"),
        ({"store": None}, "store and recipe go together"),
        ({"store": None, "recipe": None}, "cannot load method prefix"),
        ({"check_keys": 1}, "expected true or false"),
        ({"pte": ["model.pte"]}, "command: pte: expected text, found a list"),
    ],
)
def test_a_load_that_does_not_hold_together_is_refused(
    runner: Command, first: Bundle, changes: dict[str, Any], reason: str
) -> None:
    assert reason in converse(runner, [load(first, "prefix") | changes]).error


def test_a_unit_is_loaded_once(runner: Command, first: Bundle) -> None:
    assert "prefix is loaded already" in converse(runner, [load(first, "prefix")] * 2).error


def test_outputs_of_a_unit_that_has_not_run_are_refused(runner: Command, first: Bundle, tmp_path: Path) -> None:
    command = {"do": "outputs", "unit": "prefix", "to": str(tmp_path / "out")}
    assert "has not run yet" in converse(runner, [load(first, "prefix"), command]).error


def test_outputs_that_cannot_be_written_are_refused(runner: Command, first: Bundle) -> None:
    run = {"do": "block", "units": ["prefix"], "runs": 1}
    command = {"do": "outputs", "unit": "prefix", "to": "/nonexistent/out"}
    assert "/nonexistent/out: cannot be written" in converse(runner, [load(first, "prefix"), run, command]).error


def test_an_image_of_another_size_is_refused(runner: Command, first: Bundle, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(8))
    commands = [load(first, "prefix"), {"do": "image", "file": str(tmp_path / "image")}]
    run = {"do": "block", "units": ["prefix"], "runs": 1}
    assert "8 bytes, but unit prefix takes an image of 768" in converse(runner, [*commands, run]).error


def test_a_truncated_program_is_refused(runner: Command, first: Bundle, tmp_path: Path) -> None:
    command = load(first, "prefix")
    whole = Path(command["pte"]).read_bytes()
    (tmp_path / "half.pte").write_bytes(whole[: len(whole) // 2])
    assert "half.pte" in converse(runner, [command | {"pte": str(tmp_path / "half.pte")}]).error


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--threads"], "--threads takes a value"),
        (["--threads", "0"], "--threads takes a number from 1 to 1024, not '0'"),
        (["--threads", "2x"], "not '2x'"),
        (["--commands", "/nonexistent"], "/nonexistent: cannot be read"),
        (["--fast"], "no option '--fast'; valid: --threads N, --weight-cache, --commands FILE"),
    ],
)
def test_a_bad_option_is_refused_by_name(runner: Command, options: list[str], reason: str) -> None:
    assert reason in converse(runner, [], *options).error


def test_no_commands_are_no_error_and_empty_lines_no_commands(runner: Command) -> None:
    assert (converse(runner, []).status, converse(runner, ["", "  \t", ""]).answers) == (0, [])


def test_commands_can_come_from_a_file(runner: Command, tmp_path: Path) -> None:
    (tmp_path / "commands").write_text('{"do": "canary"}\n{"do": "memory"}')
    said = converse(runner, [], "--commands", str(tmp_path / "commands"))
    assert (said.status, [next(iter(answer)) for answer in said.answers]) == (0, ["canary_ms", "file_bytes"])


def test_version_and_help_are_text(runner: Command) -> None:
    version = subprocess.run([*runner, "--version"], capture_output=True, text=True, check=True).stdout
    help_text = subprocess.run([*runner, "--help"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("dsnet-runner ") and ", executorch 1." in version
    assert all(option in help_text for option in ("--threads", "--weight-cache", "--commands", "--version"))


def test_a_reader_that_goes_away_ends_it_with_status_2(runner: Command) -> None:
    process = subprocess.Popen(runner, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    process.stdout.close()
    process.stdin.write(b'{"do": "canary"}\n' * 3)
    process.stdin.close()
    assert process.wait(60) == 2
