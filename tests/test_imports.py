"""Who may import whom. The edge packages run on machines without torch, so they must not reach it by any way."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
OURS = ("common", "train", "convert", "edge", "demo", "benchmarks")
HEAVY = ("torch", "lightning", "tensorflow", "litert_torch", "onnx", "onnx2tf", "datasets", "kornia", "executorch")
MAY_IMPORT = {
    "common": (),
    "train": ("common",),
    "edge": ("common",),
    "convert": (
        "common",
        "edge",
        "train",
        "train.spec",
        "train.graph",
        "train.layer_specs",
        "train.checkpoint",
        "train.errors",
    ),
}  # fmt: skip
"""Package → the packages and modules of ours that it may import, besides itself. demo and benchmarks may import all."""
WHOLE_PACKAGES = ("common", "edge")
"""Their submodules may be imported where the package may; of `train`, only the modules named."""
TORCH_FREE = ("common", "edge")
EXECUTORCH = ("edge/bundle/executorch/pte.py", "edge/runtime/executorch_session.py")
"""The exceptions wrap the official ExecuTorch package, which brings torch. They are loaded when they are used."""


def imported(source: str) -> Iterator[str]:
    """Yield the dotted names of what `source` imports, at any depth: modules and the names taken from them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name.islower())


def forbidden(package: str, source: str) -> list[str]:
    """Return what a module of `package` with this source imports and must not."""
    allowed = MAY_IMPORT[package]
    found = []
    for name in imported(source):
        top = name.partition(".")[0]
        if top in OURS and top != package and not _is_allowed(name, allowed):
            found.append(name)
        if package in TORCH_FREE and top in HEAVY:
            found.append(name)
    return found


def _is_allowed(name: str, allowed: tuple[str, ...]) -> bool:
    top = name.partition(".")[0]
    if top in WHOLE_PACKAGES:
        return top in allowed
    is_module = (REPOSITORY / Path(*name.split("."))).with_suffix(".py").exists()
    return name in allowed or (not is_module and name.rpartition(".")[0] in allowed)


def modules(package: str) -> list[Path]:
    """Return the source files of a package."""
    return sorted((REPOSITORY / package).rglob("*.py"))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    found = {path.relative_to(REPOSITORY).as_posix(): forbidden(package, path.read_text()) for path in modules(package)}
    for path in set(EXECUTORCH) & set(found):
        found[path] = [name for name in found[path] if name.partition(".")[0] not in ("executorch", "torch")]
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("common", "from edge import EdgeError"),
        ("train", "import convert"),
        ("train", "def late():\n    from edge.bundle import open_bundle"),
        ("edge", "from train.spec import SupernetSpec"),
        ("edge", "def late():\n    import torch"),
        ("convert", "from train.supernet import Supernet"),
        ("convert", "from train import supernet"),
        ("convert", "import train.gate"),
        ("convert", "from demo.cli import demo"),
    ],
)
def test_a_forbidden_import_is_found(package: str, line: str) -> None:
    assert forbidden(package, line)


@pytest.mark.parametrize(
    "line",
    [
        "from train.spec import SupernetSpec, load_spec",
        "from train.checkpoint import load_checkpoint",
        "from train import load_spec",
        "from edge.bundle.litert.flatbuffer import write",
        "from common import atomic_write",
    ],
)
def test_what_convert_needs_is_allowed(line: str) -> None:
    assert forbidden("convert", line) == []


def loaded_by(statement: str) -> list[str]:
    """Return the heavy packages that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return done.stdout.split()


def test_the_edge_packages_load_nothing_heavy() -> None:
    packages = "edge.cli, edge.bundle, edge.runtime, edge.calibration, edge.profiling, edge.devices"
    late = "edge.bundle.verify, edge.bundle.plain_files"
    commands = "edge.bundle.cli, edge.runtime.cli, edge.calibration.cli, edge.profiling.cli"
    assert loaded_by(f"import {packages}, {late}, {commands}") == []


def test_importing_train_and_convert_loads_nothing_heavy() -> None:
    modules = "train, train.spec, train.checkpoint, train.cli, train.importers.cli, convert, convert.cli"
    assert loaded_by(f"import {modules}") == []
