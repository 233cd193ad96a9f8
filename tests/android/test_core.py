"""The app's core, in Kotlin: its JUnit tests, on the golden and malformed files that the Python tests use."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest
from filelock import FileLock

from tests.android.kotlin import CORE, PACKAGE, Tools, compiled_core, run_main
from tests.golden import preprocessing, statistics

SOURCES = CORE / "src" / "test" / "kotlin"
CLASSES = sorted(".".join(path.relative_to(SOURCES).with_suffix("").parts) for path in SOURCES.rglob("*Test.kt"))
Results = Mapping[str, Mapping[str, str | None]]


@pytest.fixture(scope="session")
def results(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Return how each test of each class ended (None: it passed); one run for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # of all processes of pytest-xdist
    file = shared / "kotlin-core.json"
    with FileLock(file.with_suffix(".lock")):
        if not file.exists():
            lines = run_main(tools, compiled_core(tools), "RunTests", *CLASSES)
            file.write_text(json.dumps(lines), encoding="utf-8")
    found: dict[str, dict[str, str | None]] = defaultdict(dict)
    for line in json.loads(file.read_text(encoding="utf-8")):
        found[line["class"]][line["test"]] = line["failure"]
    return found


@pytest.mark.parametrize("name", CLASSES, ids=lambda name: name.removeprefix(f"{PACKAGE}."))
def test_the_core_passes_its_junit_tests(results: Results, name: str) -> None:
    tests = results.get(name, {})
    failures = "\n".join(f"{test}: {failure}" for test, failure in tests.items() if failure is not None)
    assert not failures, failures
    assert tests, f"{name} has no tests"


def test_the_core_needs_no_android() -> None:
    strangers = {
        f"{path.name}: {line}"
        for path in (CORE / "src" / "main").rglob("*.kt")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("import ") and not line.startswith(("import java.", "import kotlin.", f"import {PACKAGE}."))
    }
    assert strangers == set()


@pytest.mark.parametrize("builder", [preprocessing, statistics], ids=["preprocessing", "statistics"])
def test_the_vectors_are_those_that_python_finds(builder: object) -> None:
    file: Path = builder.FILE  # type: ignore[attr-defined]
    assert json.loads(file.read_text()) == json.loads(builder.text())  # type: ignore[attr-defined]
