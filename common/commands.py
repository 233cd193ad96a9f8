"""Commands that have sub-commands and also do something themselves: `dsnet profile BUNDLE`, `dsnet profile import`."""

from typing import Any

from typer.core import TyperGroup


def group_with_default(name: str) -> type[TyperGroup]:
    """Return the class of a group that is its command `name` whenever no other one of its commands is named."""

    class DefaultGroup(TyperGroup):
        def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
            """Parse the arguments as the named command's, else as the default's."""
            if args and args[0] in self.commands and args[0] != name:
                return self.commands[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
            return self.commands[name].make_context(info_name, args, parent, **extra)

    return DefaultGroup
