"""Small JSON lists that users write by hand or record: strict, bounded, refused in one line."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from edge.bundle.records import join_problems, parse_json, problem_clause
from edge.errors import ReportError

MAX_BYTES = 4 << 20
Item = TypeVar("Item")


def read_list(path: Path, adapter: TypeAdapter[list[Item]], expected: str) -> list[Item]:
    """Return the list in a file, checked by `adapter`; raises ReportError, which names what was `expected`."""
    if not path.is_file():
        raise ReportError(f"{path}: no such file; give a JSON list of {expected}")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ReportError(f"{path}: larger than the limit of {MAX_BYTES} bytes")
    try:
        return adapter.validate_python(parse_json(data))
    except ValidationError as error:
        raise ReportError(f"{path}: {join_problems(map(problem_clause, error.errors()))}") from error
    except ValueError as error:
        raise ReportError(f"{path}: {error}") from error
