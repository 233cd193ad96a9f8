"""`dsnet`: the root command. A sub-command's module is loaded when it is called, so that `dsnet --help` is instant."""

import os
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from common import DsnetError
from common.console import one_line

USAGE, INTERRUPTED, INTERNAL = 2, 130, 1
OURS = ("common", "train", "convert", "edge", "demo")
MARKUP = None
"""Plain help: rich's takes 0.2 s longer, which is more than all the rest of `dsnet --help`."""


@dataclass(frozen=True)
class Entry:
    """Where a sub-command lives and what `dsnet --help` says about it."""

    target: str
    """MODULE:NAME of a function with typer annotations, or of a typer.Typer with sub-commands of its own."""
    help: str
    """First line of the command's own help."""
    extra: str | None = None
    """The optional dependencies it needs: `pip install dsnet-edge[EXTRA]`."""


COMMANDS = {
    "init": Entry(
        "train.cli:init", "Write an untrained supernet, so that latency can be measured before anyone trains.", "train"
    ),
    "train": Entry("train.cli:train_app", "Train a supernet, then its gates.", "train"),
    "evaluate": Entry(
        "train.cli:evaluate",
        "Print the accuracy of every width of a supernet, and with its own gates deciding.",
        "train",
    ),
    "import": Entry(
        "train.importers.cli:import_checkpoint",
        "Import a checkpoint of DS-Net's authors or of slimmable networks.",
        "train",
    ),
    "convert": Entry(
        "convert.cli:convert", "Convert a supernet to a bundle: one set of weights for all widths.", "convert"
    ),
    "hydrate": Entry("edge.bundle.cli:hydrate", "Write a plain static file for chosen widths of a bundle."),
    "devices": Entry("edge.devices.cli:devices", "List this machine and the Android devices that adb sees."),
    "profile": Entry("edge.profiling.cli:app", "Measure the latency of every width of a bundle."),
    "predict": Entry("edge.runtime.cli:predict", "Run every width of a bundle over labelled images."),
    "calibrate": Entry("edge.calibration.cli:calibrate", "Find operating points that keep a device within a budget."),
    "run": Entry("edge.runtime.cli:run", "Classify images; a policy picks the width of each."),
    "android-assets": Entry(
        "edge.bundle.cli:android_assets",
        "Write the assets of an Android app: a bundle with the widths that it is to have.",
    ),
    "report": Entry(
        "edge.report.cli:report",
        "Write what is known of a bundle as one HTML page: accuracy, latency, widths, sizes.",
        "report",
    ),
    "inspect": Entry("edge.bundle.cli:inspect", "Show what a bundle holds: widths, artifacts, operating points."),
    "verify": Entry("edge.bundle.cli:verify", "Check a bundle: hashes, programs, tensors, operating points, parity."),
    "diff": Entry("edge.diff.cli:diff", "Compare two releases of a bundle: size, latency, accuracy."),
    "demo": Entry("demo.cli:demo", "Walk the whole line on a small set of real images.", "convert"),
}
"""In the order in which one uses them."""


class LazyCommand(TyperCommand):
    """Stands for a sub-command in the root's help and becomes the real one when called."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.help, rich_markup_mode=MARKUP)
        self.entry = entry

    def load(self) -> TyperCommand | TyperGroup:
        """Import the command's module and return the real command."""
        module, _, attribute = self.entry.target.partition(":")
        target = getattr(import_module(module), attribute)
        if not isinstance(target, typer.Typer):
            app = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
            app.command(self.name)(target)
            target = app
        command = typer.main.get_command(target)
        assert isinstance(command, TyperCommand | TyperGroup)
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments as the real command does; the context then carries that command."""
        command = self.load()
        if isinstance(command, TyperGroup) and not args:
            args = ["--help"]
        return command.make_context(info_name, args, parent, **extra)


class RootGroup(TyperGroup):
    """The root command with its lazily loaded sub-commands."""

    def __init__(self, **attributes: Any) -> None:
        commands = {name: LazyCommand(name, entry) for name, entry in COMMANDS.items()}
        super().__init__(**{**attributes, "commands": commands})

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """List every command with its help in full."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Refuse an unknown command with the list of the known ones."""
        if args[0] not in self.commands:
            ctx.fail(f"no command {args[0]!r}; valid: {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)


root = typer.Typer(cls=RootGroup, add_completion=False, rich_markup_mode=MARKUP)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"dsnet-edge {version('dsnet-edge')}")
        raise typer.Exit


@root.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Dynamic-width networks on phones: train one network, ship every width in one file, meet each phone's budget.

    The commands below are listed in the order of the work: a checkpoint, a bundle, a latency table, predictions,
    operating points, answers.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run `dsnet` and exit.

    0 done, 1 failed check or internal error, 2 error the user can act on, 3 failed condition of `dsnet diff`,
    130 interrupted.
    """
    given = sys.argv[1:] if arguments is None else arguments
    words = [word for word in given if word != "--debug"]
    try:
        status = typer.main.get_command(root).main(words or ["--help"], prog_name="dsnet", standalone_mode=False)
    except Exception as error:
        if "--debug" in given:
            traceback.print_exc()
        status, line = _explain(error, next((word for word in words if word in COMMANDS), None))
        if _is_first_process():
            print(line, file=sys.stderr)
    if status == INTERRUPTED:
        print("interrupted", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def _is_first_process() -> bool:
    """Return whether this process speaks for all that train together: the others meet the same errors."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def _explain(error: Exception, command: str | None) -> tuple[int, str]:
    """Return the exit status and the one line for an error that ended the program."""
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "dsnet"
        return USAGE, f"error: {one_line(error.format_message())} (see {path} --help)"
    if isinstance(error, DsnetError):
        return USAGE, f"error: {one_line(str(error))}"
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return USAGE, f"error: {one_line(place + error.strerror)}"
    extra = COMMANDS[command].extra if command else None
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if extra and missing and missing not in OURS:
        return (
            USAGE,
            f"error: dsnet {command} needs {missing}, which is not installed: pip install 'dsnet-edge[{extra}]'",
        )
    text = one_line(f"{type(error).__name__}: {error}")
    return INTERNAL, f"internal error: {text}; run with --debug for the traceback"
