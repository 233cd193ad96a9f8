"""Strict JSON from strangers → checked records, or one BundleError that names the first problems."""

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from edge.errors import BundleError

MAX_JSON_BYTES = 16 << 20
MAX_DEPTH = 64
MAX_DIGITS = 19
"""Digits of the largest 64-bit integer: other languages read these records too."""
SHOWN_PROBLEMS = 5

R = TypeVar("R", bound=BaseModel)


def read_record(
    path: Path,
    model: type[R],
    format_name: str,
    max_bytes: int = MAX_JSON_BYTES,
    origin: str | None = None,
    oldest: str | None = None,
) -> R:
    """Return the record of type `model` in the JSON file at `path`.

    `format_name` is the newest format this reader knows ("dsnet-bundle/2"): a higher major version is refused by name.
    `origin` is what error messages call the file; default: its path. `oldest` is as in `parse_record`.
    Raises BundleError for a file that is missing, over `max_bytes`, not strict JSON, or not such a record.
    """
    origin = origin or str(path)
    return parse_record(_read_bounded(path, max_bytes, origin), model, format_name, origin, oldest)


def parse_record(data: bytes, model: type[R], format_name: str, origin: str, oldest: str | None = None) -> R:
    """Return the record of type `model` in `data`; `origin` is what error messages call the data.

    `oldest` is the oldest format that this reader knows, where that is not `format_name`.
    """
    try:
        fields = parse_json(data)
        _check_format(fields, format_name, oldest or format_name)
        return model.model_validate(fields)
    except ValidationError as error:
        raise BundleError(f"{origin}: {join_problems(map(problem_clause, error.errors()))}") from error
    except ValueError as error:
        raise BundleError(f"{origin}: {error}") from error


def parse_json(data: bytes) -> Any:
    """Return the value of strict JSON text: UTF-8, finite numbers, unique keys, at most MAX_DEPTH levels deep.

    Raises ValueError, in one line.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_not_finite,
            parse_float=_finite,
            parse_int=_bounded_integer,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON (line {error.lineno}, column {error.colno}): {error.msg}") from error
    except RecursionError as error:
        raise ValueError(f"JSON is nested deeper than {MAX_DEPTH} levels") from error
    _check_nesting_and_text(value)
    return value


def _read_bounded(path: Path, max_bytes: int, origin: str) -> bytes:
    """Return the content of a file of at most `max_bytes`; raises BundleError."""
    if path.is_dir():
        raise BundleError(f"{origin}: a folder; give the path of a file")
    if not path.is_file():
        raise BundleError(f"{origin}: no such file")
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise BundleError(f"{origin}: larger than the limit of {max_bytes} bytes")
    return data


def join_problems(problems: Iterable[str]) -> str:
    """Return the first problems in one line, and how many more there are."""
    found = list(problems)
    more = len(found) - SHOWN_PROBLEMS
    return "; ".join(found[:SHOWN_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def _check_format(fields: Any, format_name: str, oldest: str) -> None:
    if not isinstance(fields, dict):
        raise ValueError(f"expected a JSON object, found {type(fields).__name__}")
    family, _, major = format_name.partition("/")
    found = fields.get("format")
    match = (
        re.fullmatch(rf"{re.escape(family)}/([0-9]{{1,6}})(\.[0-9]{{1,6}})?", found) if isinstance(found, str) else None
    )
    if match is None or int(match[1]) < int(oldest.partition("/")[2]):
        valid = " to ".join(map(repr, dict.fromkeys((oldest, format_name))))
        raise ValueError(f"format is {found!r:.80}; valid: {valid}")
    if int(match[1]) > int(major):
        raise ValueError(f"{found} is newer than this reader ({format_name}); update dsnet-edge")


def problem_clause(error: Any) -> str:
    """Return one of pydantic's problems as a clause: the field, what is wrong, what was found."""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    message = error["msg"].removeprefix("Value error, ")
    text = message[:1].lower() + message[1:]
    found = repr(error["input"])
    scalar = isinstance(error["input"], str | int | float) and error["type"] != "value_error"
    named = f"{place}: {text}" if place else text
    return f"{named}, found {found[:60]}" if scalar else str(named)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:80]!r} appears twice in one object")
    return fields


def _not_finite(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not a JSON number")


def _finite(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise ValueError(f"number {literal[:40]} is out of range")
    return value


def _bounded_integer(literal: str) -> int:
    if len(literal.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"number {literal[:40]}… is out of range")
    return int(literal)


def _check_nesting_and_text(value: Any) -> None:
    """Refuse what later code would stumble over: nesting near the recursion limit, lone surrogates in text."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"JSON is nested deeper than {MAX_DEPTH} levels")
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and not item.isascii() and any("\ud800" <= char <= "\udfff" for char in item):
                raise ValueError("text holds a lone surrogate, which is not a character")
        level = below
