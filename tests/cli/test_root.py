import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from common import DsnetError
from edge import cli

HEAVY = ("torch", "tensorflow", "numpy", "pydantic", "rich", "ai_edge_litert")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run `dsnet ARGUMENTS` in this process and return its exit status, stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """Make `dsnet inspect` raise the exception put under "error"."""
    planned: dict[str, BaseException] = {}

    def inspect() -> None:
        raise planned["error"]

    monkeypatch.setattr("edge.bundle.cli.inspect", inspect)
    return planned


def test_help_lists_the_commands_in_the_order_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    lines = [line.split() for line in out[out.index("Commands:") :].splitlines() if line.startswith("  ")]
    listed = [words[0] for words in lines if words[0] in cli.COMMANDS]
    assert (status, listed) == (0, list(cli.COMMANDS))


def test_dsnet_alone_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys) == run(capsys, "--help")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom edge.cli import main\n"
        f"try: main(['--help'])\nfinally: print(sorted(set(sys.modules) & set({HEAVY})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_commands_line_in_the_root_help_is_its_own_first_line(name: str) -> None:
    entry = cli.COMMANDS[name]
    module, _, attribute = entry.target.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    text = target.info.help if isinstance(target, typer.Typer) else inspect.getdoc(target)
    first_paragraph = " ".join(text.split("\n\n")[0].split())
    assert first_paragraph == entry.help


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    status, out, _ = run(capsys, name, "--help")
    assert status == 0
    assert f"dsnet {name}" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--version")
    assert (status, out.split()[0]) == (0, "dsnet-edge")


def test_an_unknown_command_is_refused_with_the_valid_ones(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "fly")
    assert (status, err) == (2, f"error: no command 'fly'; valid: {', '.join(cli.COMMANDS)} (see dsnet --help)\n")


def test_a_missing_argument_is_one_line_with_the_way_to_help(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "inspect")
    assert (status, err) == (2, "error: Missing argument 'BUNDLE'. (see dsnet inspect --help)\n")


def test_an_unknown_option_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "verify", "--loud")
    assert (status, err) == (2, "error: No such option: --loud (see dsnet verify --help)\n")


def test_a_user_error_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], failing: dict[str, BaseException]
) -> None:
    failing["error"] = DsnetError("no tail;\nvalid: 0, 1")
    assert run(capsys, "inspect") == (2, "", "error: no tail; valid: 0, 1\n")


def test_control_characters_of_a_stranger_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str], failing: dict[str, BaseException]
) -> None:
    failing["error"] = DsnetError("no class \x1b[2Jcat\x07")
    assert run(capsys, "inspect")[2] == "error: no class \\x1b[2Jcat\\x07\n"


def test_a_full_disk_is_a_user_error(capsys: pytest.CaptureFixture[str], failing: dict[str, BaseException]) -> None:
    failing["error"] = OSError(28, "No space left on device", "/bundle/manifest.json")
    assert run(capsys, "inspect") == (2, "", "error: /bundle/manifest.json: No space left on device\n")


def test_an_internal_error_is_one_line_and_status_1(
    capsys: pytest.CaptureFixture[str], failing: dict[str, BaseException]
) -> None:
    failing["error"] = ZeroDivisionError("division by zero")
    line = "internal error: ZeroDivisionError: division by zero; run with --debug for the traceback\n"
    assert run(capsys, "inspect") == (1, "", line)


@pytest.mark.parametrize("arguments", [("--debug", "inspect"), ("inspect", "--debug")])
def test_debug_shows_the_traceback(
    capsys: pytest.CaptureFixture[str], failing: dict[str, BaseException], arguments: tuple[str, ...]
) -> None:
    failing["error"] = DsnetError("no tail")
    status, _, err = run(capsys, *arguments)
    lines = err.splitlines()
    assert (status, lines[0], lines[-1]) == (2, "Traceback (most recent call last):", "error: no tail")


def test_an_interrupt_is_one_line_and_status_130(
    capsys: pytest.CaptureFixture[str], failing: dict[str, BaseException]
) -> None:
    failing["error"] = KeyboardInterrupt()
    assert run(capsys, "inspect") == (130, "", "interrupted\n")


def test_a_missing_extra_is_named_with_the_way_to_install_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate() -> None:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    monkeypatch.setattr("train.cli.evaluate", evaluate, raising=False)
    line = "error: dsnet evaluate needs torch, which is not installed: pip install 'dsnet-edge[train]'\n"
    assert run(capsys, "evaluate") == (2, "", line)


def test_inspect_prints_widths_artifacts_and_operating_points(capsys: pytest.CaptureFixture[str], golden: Path) -> None:
    status, out, _ = run(capsys, "inspect", str(golden / "bundle"))
    words = out.split()
    assert status == 0
    assert [word for word in ("1,952", "2,304", "5,600", "fast", "balanced") if word not in words] == []


def test_inspect_prints_the_manifest_as_json(capsys: pytest.CaptureFixture[str], golden: Path) -> None:
    _, out, _ = run(capsys, "inspect", str(golden / "bundle"), "--json")
    assert json.loads(out) == json.loads((golden / "bundle" / "manifest.json").read_text())


def test_inspect_refuses_a_malformed_bundle_in_one_line(capsys: pytest.CaptureFixture[str], golden: Path) -> None:
    status, out, err = run(capsys, "inspect", str(golden.parent / "malformed" / "bundles" / "zero_std"))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "model.std[1]" in err


def test_verify_prints_a_line_per_check_and_passes_the_golden_bundle(
    capsys: pytest.CaptureFixture[str], golden: Path
) -> None:
    status, out, _ = run(capsys, "verify", str(golden / "bundle"))
    assert (status, {line.split()[0] for line in out.splitlines()}) == (0, {"pass"})


def test_verify_exits_1_when_a_check_fails(capsys: pytest.CaptureFixture[str], golden: Path) -> None:
    altered = golden.parent / "malformed" / "bundles" / "altered_artifact"
    status, out, _ = run(capsys, "verify", str(altered))
    failed = [line.split(":")[0] for line in out.splitlines() if line.startswith("fail")]
    assert (status, failed) == (1, ["fail  litert int8 file"])


def test_verify_prints_checks_as_json(capsys: pytest.CaptureFixture[str], golden: Path) -> None:
    status, out, _ = run(
        capsys, "verify", str(golden.parent / "malformed" / "bundles" / "truncated_artifact"), "--json"
    )
    result = json.loads(out)
    assert (status, result["passed"]) == (1, False)
    assert {"claim": "manifest", "outcome": "pass", "detail": "dsnet-bundle/2, 2 widths"} in result["checks"]
