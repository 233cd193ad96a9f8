"""Manifests of format "dsnet-bundle/1", of bundles with at most one gate, as what they say in format 2.

There, `gate` was one record or null, a width had no `path`, a program had its one `width`, or none, where all images
run it, and programs lay in any order. Whatever does not have that form is left as it is, for the checks of format 2 to
name.
"""

import re
from typing import Any

from edge.bundle.fields import MAX_PROGRAMS

FIRST_FORMAT = "dsnet-bundle/1"


def is_first_format(fields: Any) -> bool:
    """Return whether the fields of a manifest say that they are of the first format."""
    found = fields.get("format") if isinstance(fields, dict) else None
    return isinstance(found, str) and re.fullmatch(rf"{FIRST_FORMAT}(\.[0-9]{{1,6}})?", found) is not None


def upgraded(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a manifest of the first format as those of the second."""
    upgraded = {name: value for name, value in fields.items() if name != "gate"}
    if "gate" in fields:
        upgraded["gates"] = [] if fields["gate"] is None else [fields["gate"]]
    for name, change in (("widths", _with_path), ("artifacts", _with_programs)):
        if isinstance(fields.get(name), list):
            upgraded[name] = [change(item) if isinstance(item, dict) else item for item in fields[name]]
    return upgraded


def _with_path(width: dict[str, Any]) -> dict[str, Any]:
    return {**width, "path": [width.get("index")]}


def _with_programs(artifact: dict[str, Any]) -> dict[str, Any]:
    programs = artifact.get("programs")
    if not isinstance(programs, list) or len(programs) > MAX_PROGRAMS:
        return artifact
    if not all(isinstance(program, dict) for program in programs):
        return artifact
    every = sorted({program["width"] for program in programs if isinstance(program.get("width"), int)})
    head_first = sorted(programs, key=lambda program: program.get("width") is not None)
    return {**artifact, "programs": [_with_widths(program, every) for program in head_first]}


def _with_widths(program: dict[str, Any], every: list[Any]) -> dict[str, Any]:
    kept = {name: value for name, value in program.items() if name != "width"}
    width = program.get("width")
    return {**kept, "widths": every if width is None else [width]}
