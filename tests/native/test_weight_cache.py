"""Why keys are hashes of contents: a weight cache looks packed weights up by key alone.

Android's and Apple's builds of the backend have the cache on. Two networks whose keys are equal, as readable names
would be, then share the first one's weights, and nothing says so.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.reader import Bundle
from tests.native.conversation import Command, answers, load, load_plain

HASH = re.compile(rb"[0-9a-f]{64}")


def outputs_of_both(
    runner: Command, loads: tuple[dict[str, Any], dict[str, Any]], folder: Path, *options: str
) -> list[bytes]:
    """Load two prefixes into one process, run both on the same image and return what each gives."""
    units = ("first", "second")
    answers(
        runner,
        [
            *(command | {"unit": unit} for unit, command in zip(units, loads, strict=True)),
            *({"do": "block", "units": [unit], "runs": 1} for unit in units),
            *({"do": "outputs", "unit": unit, "to": str(folder / unit)} for unit in units),
        ],
        *options,
    )
    return [(folder / unit).read_bytes() for unit in units]


def with_positional_keys(command: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the command with copies of its files in which every key is a number: its place in the program file."""
    folder.mkdir()
    keys = list(dict.fromkeys(HASH.findall(Path(command["pte"]).read_bytes())))
    numbers = {key: b"%064x" % number for number, key in enumerate(keys)}
    changed = dict(command, check_keys=False)
    for role in ("pte", "recipe"):
        source = Path(command[role])
        changed[role] = str(folder / source.name)
        renamed = HASH.sub(lambda match: numbers.get(match[0], match[0]), source.read_bytes())
        (folder / source.name).write_bytes(renamed)
    return changed


@pytest.fixture
def right(runner: Command, first: Bundle, second: Bundle, tmp_path: Path) -> list[bytes]:
    """Return what the plain files of both networks give, each in a process of its own, without a cache."""
    given = []
    for bundle in (first, second):
        plain = load_plain(bundle, "prefix", tmp_path)
        given += outputs_of_both(runner, (plain, plain), tmp_path)[:1]
    assert given[0] != given[1]
    return given


def test_with_content_hashes_a_cache_gives_both_networks_their_own_weights(
    runner: Command, first: Bundle, second: Bundle, right: list[bytes], tmp_path: Path
) -> None:
    loads = load(first, "prefix"), load(second, "prefix")
    assert outputs_of_both(runner, loads, tmp_path, "--weight-cache") == right


def test_with_equal_keys_a_cache_silently_gives_the_second_network_the_firsts_weights(
    runner: Command, first: Bundle, second: Bundle, right: list[bytes], tmp_path: Path
) -> None:
    loads = (
        with_positional_keys(load(first, "prefix"), tmp_path / "first_files"),
        with_positional_keys(load(second, "prefix"), tmp_path / "second_files"),
    )
    assert outputs_of_both(runner, loads, tmp_path) == right
    with_cache = outputs_of_both(runner, loads, tmp_path, "--weight-cache")
    assert with_cache == [right[0], right[0]]
