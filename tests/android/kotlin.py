"""The Kotlin compiler and JUnit, where this machine has them, and the app's core compiled by them.

The compiler comes from PyPI, inside kotlin-jupyter-kernel; Java and JUnit are Debian packages. What is compiled is kept
below build/kotlin, under a name made of its sources' hash.
"""

import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

from filelock import FileLock

from common import atomic_folder

REPOSITORY = Path(__file__).parents[2]
CORE = REPOSITORY / "android_demo" / "core"
BUILD = REPOSITORY / "build" / "kotlin"
KERNEL = "run_kotlin_kernel"
"""The package that carries the compiler."""
DEBIAN_JARS = Path("/usr/share/java")
PACKAGE = "io.github.dsnetedge.core"
COMPILE_SECONDS, RUN_SECONDS = 300, 300


class MissingToolError(Exception):
    """Something that this machine lacks, and how to get it."""


@dataclass(frozen=True)
class Tools:
    """What compiles and runs Kotlin."""

    java: str
    compiler: Path
    stdlib: Path
    junit: tuple[Path, ...]


def find_tools() -> Tools:
    """Return the tools; raises MissingToolError."""
    java = which("java")
    if java is None:
        raise MissingToolError("no java; apt-get install openjdk-17-jre-headless")
    junit = (DEBIAN_JARS / "junit4.jar", DEBIAN_JARS / "hamcrest-core.jar")
    if not all(jar.exists() for jar in junit):
        raise MissingToolError("no JUnit 4; apt-get install junit4 libhamcrest-java")
    kernel = find_spec(KERNEL)
    if kernel is None or kernel.origin is None:
        raise MissingToolError("no Kotlin compiler; pip install kotlin-jupyter-kernel")
    jars = Path(kernel.origin).parent / "jars"
    (compiler,), (stdlib,) = jars.glob("kotlin-jupyter-kernel-*-all.jar"), jars.glob("kotlin-stdlib-*.jar")
    return Tools(java, compiler, stdlib, junit)


def compiled_core(tools: Tools) -> Path:
    """Return the folder of the core's classes and its tests', compiled unless it is up to date."""
    sources = sorted(CORE.rglob("*.kt"))
    target = BUILD / f"core-{_hash(sources, tools.compiler.name)}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with FileLock(BUILD / "core.lock"):
        if not target.exists():
            with atomic_folder(target) as folder:
                _compile(tools, sources, folder)
    return target


def run_main(tools: Tools, classes: Path, name: str, *arguments: str) -> list[dict[str, Any]]:
    """Return the lines of JSON that the main function of file `name` of the core's tests prints."""
    command = [
        *(tools.java, "-XX:+UseSerialGC", "-Xmx512m", f"-Ddsnet.tests={REPOSITORY / 'tests'}"),
        *("-cp", class_path(classes, tools.stdlib, *tools.junit), f"{PACKAGE}.{name}Kt", *arguments),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def _compile(tools: Tools, sources: Sequence[Path], folder: Path) -> None:
    command = [
        *(tools.java, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx1500m", "-cp", str(tools.compiler)),
        *("org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-stdlib", "-no-reflect", "-jvm-target", "17", "-Werror"),
        *("-cp", class_path(tools.stdlib, *tools.junit), "-d", str(folder), *map(str, sources)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"


def _hash(sources: Sequence[Path], compiler: str) -> str:
    digest = hashlib.sha256(compiler.encode())
    for source in sources:
        digest.update(f"\0{source.relative_to(CORE)}\0".encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def class_path(*entries: Path) -> str:
    return ":".join(map(str, entries))
