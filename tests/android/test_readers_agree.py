"""The same mutants, from a fixed seed, for the readers in Python and in Kotlin."""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edge.bundle.nested.weights import parse_recipe
from edge.bundle.reader import read_manifest
from edge.errors import BundleError
from tests.android.kotlin import Tools, compiled_core, run_main
from tests.native.test_recipes import mutate_bytes, mutate_value

MUTANTS = 400
ALONE = ("float16", "a cast is for", "is out of range")
"""What the Kotlin reader alone refuses: types that no runtime on Android has, and integers beyond 64 bits."""


def mutants(text: bytes) -> list[bytes]:
    """Return copies of a JSON text with a value changed, an entry removed or repeated, or some bytes damaged."""
    generator, found = random.Random(0), []
    for number in range(MUTANTS):
        if number % 4 == 0:
            found.append(mutate_bytes(generator, text))
            continue
        record = json.loads(text)
        mutate_value(generator, record)
        found.append(json.dumps(record).encode())
    return found


def in_kotlin(tools: Tools, folder: Path, kind: str, texts: list[bytes]) -> Mapping[str, str | None]:
    """Return, by file, what the Kotlin reader refuses it with (None: it is read)."""
    files = [folder / f"{kind}_{number:04}.json" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_bytes(text)
    lines = run_main(tools, compiled_core(tools), "JudgeRecords", *map(str, files))
    return {line["file"]: line["error"] for line in lines}


def refusal(read: Callable[[], object]) -> str | None:
    try:
        read()
    except BundleError as error:
        return str(error)
    return None


@pytest.mark.parametrize("folder", ["nested", "nested_positions"])
def test_a_recipe_is_refused_exactly_when_python_refuses_it(
    tools: Tools, golden: Path, folder: str, tmp_path: Path
) -> None:
    texts = mutants((golden / folder / "recipe.json").read_bytes())
    found = in_kotlin(tools, tmp_path, "recipe", texts)
    refused = 0
    for text, (name, error) in zip(texts, found.items(), strict=True):
        expected = refusal(lambda text=text, name=name: parse_recipe(text, name))  # type: ignore[misc]
        if error is not None and any(words in error for words in ALONE):
            continue
        assert (error is None) == (expected is None), f"Kotlin: {error}; Python: {expected}; {text[:2000]!r}"
        refused += error is not None
    assert MUTANTS // 4 < refused < MUTANTS, refused


def test_a_manifest_that_python_reads_is_read(tools: Tools, golden: Path, tmp_path: Path) -> None:
    texts = mutants((golden / "bundle" / "manifest.json").read_bytes())
    found = in_kotlin(tools, tmp_path, "manifest", texts)
    read = 0
    for text, error in zip(texts, found.values(), strict=True):
        (tmp_path / "manifest.json").write_bytes(text)
        if refusal(lambda: read_manifest(tmp_path)) is None:
            assert error is None or "is out of range" in error, f"Kotlin: {error}; {text[:4000]!r}"
            read += 1
    assert read > MUTANTS // 40, read
