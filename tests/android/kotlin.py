"""The Kotlin compiler and JUnit, where this machine has them, and the app's two modules compiled by them.

The compiler comes from PyPI, inside kotlin-jupyter-kernel; Java, JUnit and what links resources are Debian packages.
What is compiled is kept below build/kotlin, under a name made of its sources' hash. Core and app are compiled each on
its own, as Gradle does: what is internal to the core is not the app's to use.
"""

import hashlib
import json
import re
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
PROJECT = REPOSITORY / "android_demo"
CORE, APP, STUBS = PROJECT / "core", PROJECT / "app", PROJECT / "stubs"
BUILD = REPOSITORY / "build" / "kotlin"
KERNEL = "run_kotlin_kernel"
"""The package that carries the compiler."""
DEBIAN_JARS = Path("/usr/share/java")
FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
"""Resources of Android itself, of API level 29."""
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
                _compile(tools, sources, (tools.stdlib, *tools.junit), folder)
    return target


def find_aapt2() -> str:
    """Return what links resources; raises MissingToolError."""
    aapt2 = which("aapt2")
    if aapt2 is None or not FRAMEWORK.exists():
        raise MissingToolError("no aapt2 or no framework-res.apk; apt-get install aapt android-framework-res")
    return aapt2


def compiled_app(tools: Tools, aapt2: str) -> Path:
    """Return the folder of the app's `classes`.

    The app is checked against the stubs' signatures, and every resource it names against those that are there.
    """
    core = compiled_core(tools)
    sources = [*sorted(APP.rglob("*.kt")), *sorted(STUBS.rglob("*.java"))]
    others = sorted((APP / "src" / "main").rglob("*.xml"))
    target = BUILD / f"app-{_hash([*sources, *others, APP / 'build.gradle.kts'], core.name)}"
    with FileLock(BUILD / "app.lock"):
        if not target.exists():
            with atomic_folder(target) as folder:
                _link(aapt2, folder)
                generated = sorted((folder / "java").rglob("*.java"))
                _compile(tools, [*sources, *generated], (tools.stdlib, core), folder / "classes")
    return target


def setting(name: str) -> str:
    """Return a setting of the app's Gradle file, such as `minSdk`."""
    (found,) = re.findall(rf"^ *{name} = \"?([\w.]+)", (APP / "build.gradle.kts").read_text(), re.MULTILINE)
    return str(found)


def _link(aapt2: str, folder: Path) -> None:
    """Link manifest and resources, as the Gradle plugin does; neither may give as much as a warning."""
    package = f'<manifest package="{setting("namespace")}" '
    manifest = (APP / "src" / "main" / "AndroidManifest.xml").read_text(encoding="utf-8").replace("<manifest ", package)
    (folder / "AndroidManifest.xml").write_text(manifest, encoding="utf-8")
    compiled, java = folder / "resources.zip", folder / "java"
    _run(aapt2, "compile", "--dir", str(APP / "src" / "main" / "res"), "-o", str(compiled))
    _run(
        *(aapt2, "link", "-I", str(FRAMEWORK), "--manifest", str(folder / "AndroidManifest.xml")),
        *("--min-sdk-version", setting("minSdk"), "--target-sdk-version", setting("targetSdk")),
        *("--java", str(java), "-o", str(folder / "resources.apk"), str(compiled)),
    )


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
    assert (done.returncode, done.stdout + done.stderr) == (0, ""), done.stdout + done.stderr


def run_main(tools: Tools, classes: Path, name: str, *arguments: str) -> list[dict[str, Any]]:
    """Return the lines of JSON that the main function of file `name` of the core's tests prints."""
    command = [
        *(tools.java, "-XX:+UseSerialGC", "-Xmx512m", f"-Ddsnet.tests={REPOSITORY / 'tests'}"),
        *("-cp", class_path(classes, tools.stdlib, *tools.junit), f"{PACKAGE}.{name}Kt", *arguments),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def _compile(tools: Tools, sources: Sequence[Path], libraries: Sequence[Path], folder: Path) -> None:
    command = [
        *(tools.java, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx1500m", "-cp", str(tools.compiler)),
        *("org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-stdlib", "-no-reflect", "-jvm-target", "17", "-Werror"),
        *("-cp", class_path(*libraries), "-d", str(folder), *map(str, sources)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"


def _hash(sources: Sequence[Path], before: str) -> str:
    digest = hashlib.sha256(before.encode())
    for source in sources:
        digest.update(f"\0{source.relative_to(PROJECT)}\0".encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def class_path(*entries: Path) -> str:
    return ":".join(map(str, entries))
