"""`dsnet profile --runner app` from the command line to the runtime: the real adb, an emulated phone whose app is the
Kotlin core on the JVM, and behind it the real runtimes. What is not real is Android itself."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle.manifest import Artifact
from edge.bundle.nested.weights import open_nested_weights
from edge.bundle.reader import Bundle, open_bundle
from edge.cli import main
from edge.devices.adb.facts import APP
from edge.devices.adb.runners.app import ANSWERS, app_files
from edge.devices.adb.store import Store
from edge.profiling import load_latency
from edge.profiling.statistics import samples_ms
from tests.android.kotlin import PACKAGE, Tools, class_path, compiled_core
from tests.android.runtime_server import RuntimeServer, runtime_server
from tests.devices.adb.conftest import Phone, adb, emulator, phone
from tests.emulator.device import app_folder
from tests.native.data import NETWORKS
from tests.runtime import golden

__all__ = ["adb", "emulator", "phone"]

Start = Callable[..., Phone]
CACHE = f"/data/data/{APP}/cache"
QUICK = ("--min-runs", "6", "--max-runs", "6", "--sustained", "1")
"""Sustained speed never waits for the device to cool: this machine has other work, which would look like heat."""


def with_app(phone: Start, tools: Tools, server: RuntimeServer) -> Phone:
    """Return a phone with the app, whose process bears its name, as Android's do: only the JVM is in it."""
    target = phone()
    java = f"{app_folder(APP)}/java"
    classes = class_path(compiled_core(tools), tools.stdlib)
    options = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xmx256m"
    start = f"exec {java}/{APP} {options} -cp {classes} {PACKAGE}.AnswerRequestKt"
    target.emulator.install_app(APP, f'{start} {server.port} {ANSWERS} {CACHE} "$1" "$2"')
    folder = target.emulator.path(java)
    folder.mkdir()
    (folder / APP).symlink_to(Path(tools.java).resolve())
    return target


def dsnet(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("folder", "widths"),
    [(golden.FOLDER, [0, 1]), (NETWORKS / "first", [1])],
    ids=["litert", "executorch"],
)
def test_every_unit_is_measured_in_the_app(
    phone: Start, tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: Path, widths: list[int]
) -> None:
    bundle = open_bundle(folder)
    artifact = bundle.artifact(precision="int8")
    out = tmp_path / "latency.json"
    with runtime_server(artifact) as server:
        target = with_app(phone, tools, server)
        chosen = ("--precision", "int8", "--widths", ",".join(map(str, widths)), "--threads", 2)
        given = (*chosen, "--device", target.serial, "--runner", "app", *QUICK, "--out", out, "--json")
        status = dsnet("profile", folder, *given)
        printed = capsys.readouterr()
        assert status == 0, printed.err
    (run,) = load_latency(out).runs
    assert (run.device, run.runner, run.runtime, run.threads) == (target.serial, "app", artifact.runtime, 2)
    assert run.complete
    assert run.environment["runtime_version"] == server.version
    tails = [f"tail_{width:02}" for width in widths]
    units = [["prefix"], *([tail] for tail in tails), *(["prefix", tail] for tail in tails)]
    assert [entry.programs for entry in run.entries] == units
    for entry in run.entries:
        times = samples_ms(entry)
        assert len(times) >= 6
        assert entry.first_run_ms is not None
        assert min(*times, entry.first_run_ms) > 0, times
    assert len(run.environment["canary_ms"]) == sum(len(entry.blocks_ms) for entry in run.entries)
    assert set(server.loaded) == {(name, 2) for name in ("prefix", *tails)}
    assert json.loads(printed.out)["runner"] == "app"
    made = {path.read_bytes() for path in target.emulator.path(CACHE).glob("*")}
    assert made == plain_files(bundle, artifact, ["prefix", *tails])


def plain_files(bundle: Bundle, artifact: Artifact, programs: list[str]) -> set[bytes]:
    """Return the files that an app has to make for itself: of LiteRT's a copy that it may map, plain ones of others."""
    if artifact.runtime == "litert":
        return {bundle.verified_path(artifact).read_bytes()}
    weights = open_nested_weights(bundle, artifact)
    return {weights.file(f"{name}.pte") for name in programs}


def test_an_app_without_the_runtime_says_which_it_has(
    phone: Start, tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with runtime_server(golden.artifact()) as server:
        target = with_app(phone, tools, server)
        given = ("--precision", "int8", "--device", target.serial, "--runner", "app", *QUICK)
        assert dsnet("profile", NETWORKS / "first", *given, "--out", tmp_path / "l.json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the app: no executorch in this app; it has litert" in line
    assert list(target.emulator.path(ANSWERS).iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "role"), [(golden.FOLDER, "model"), (NETWORKS / "first", "store")], ids=["litert", "executorch"]
)
def test_a_file_that_was_changed_on_the_phone_is_not_used(
    phone: Start, tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: Path, role: str
) -> None:
    bundle = open_bundle(folder)
    artifact = bundle.artifact(precision="int8")
    with runtime_server(artifact) as server:
        target = with_app(phone, tools, server)
        file = bundle.verified_path(app_files(bundle, artifact)[role])
        target.emulator.path(Store(target.adb).ensure(file)).write_bytes(bytes(file.stat().st_size))
        given = ("--precision", "int8", "--device", target.serial, "--runner", "app", *QUICK)
        assert dsnet("profile", bundle.root, *given, "--out", tmp_path / "l.json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "its SHA-256 is not the manifest's; dsnet devices --clean removes it" in line
    assert not [*target.emulator.path(CACHE).rglob("*")], "nothing was made of it"
