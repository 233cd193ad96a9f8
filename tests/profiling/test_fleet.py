"""Several devices at once: each has its table, one that fails stops no other, and Ctrl-C ends them all."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.devices.fake import FakeDevice
from edge.errors import MeasurementError
from edge.profiling import Settings, load_latency
from edge.profiling.fleet import Job, profile_devices, table_of
from tests.runtime import golden

Latency = Callable[[tuple[str, ...], int], float]


class Phone(FakeDevice):
    """A scripted device with a serial."""

    def __init__(self, serial: str, latency_ms: Latency) -> None:
        super().__init__(latency_ms)
        self.name = serial


def job(*threads: int, resume: bool | None = None, **settings: Any) -> Job:
    chosen = Settings(**{"min_runs": 10, "max_runs": 10, **settings})
    return Job(golden.bundle(), golden.artifact(), None, threads or (1,), chosen, resume)


def steady(_: tuple[str, ...], __: int) -> float:
    return 2.0


def test_every_device_has_a_table_and_a_run_of_its_own(tmp_path: Path) -> None:
    phones = [Phone(serial, steady) for serial in ("first", "192.168.0.7:5555")]
    done, problems = profile_devices(job(), phones, tmp_path / "l.json")
    assert [path.name for path, _ in done] == ["l-first.json", "l-192.168.0.7%3A5555.json"]
    assert [load_latency(path).runs for path, _ in done] == [[run] for _, run in done]
    assert [run.device for _, run in done] == ["first", "192.168.0.7:5555"]
    assert problems == []


SERIALS = [
    "emulator-5554",
    "192.168.0.7:5555",
    "192.168.0.7_5555",
    "adb-R5CT1234-abcdef._adb-tls-connect._tcp",
    "adb-R5CT1234-abcdef (2)._adb-tls-connect._tcp",
    "[fe80::1%wlan0]:5555",
    "[fe80::1%25wlan0]:5555",
    "../../etc/passwd",
    "..",
    "%2E%2E",
    "x" * 1000,
    "x" * 1001,
]


def test_every_serial_has_a_table_of_its_own_in_the_folder(tmp_path: Path) -> None:
    tables = [table_of(tmp_path / "l.json", serial) for serial in SERIALS]
    assert len(set(tables)) == len(SERIALS)
    for table in tables:
        assert table.parent == tmp_path
        table.write_text("a name that the file system takes")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True))
def test_no_two_serials_share_a_table_and_none_is_more_than_a_name(serials: list[str]) -> None:
    names = [table_of(Path("l.json"), serial).name for serial in serials]
    assert len(set(names)) == len(serials)
    assert set("".join(names)) <= set(ascii_letters + digits + "._-~%+")
    assert max(map(len, names), default=0) < 255


def test_several_thread_counts_are_runs_of_their_own_in_one_table_one_after_the_other(tmp_path: Path) -> None:
    phone, out = Phone("phone", steady), tmp_path / "l.json"
    done, _ = profile_devices(job(1, 4), [phone], out)
    assert [(path, run.threads, run.complete) for path, run in done] == [(out, 1, True), (out, 4, True)]
    assert load_latency(out).runs == [run for _, run in done]
    assert [action[0] for action in phone.log if action[0] in ("open", "close")] == ["open", "close"] * 2


def test_each_device_measures_every_thread_count(tmp_path: Path) -> None:
    done, problems = profile_devices(job(1, 4), [Phone("a", steady), Phone("b", steady)], tmp_path / "l.json")
    assert [(path.name, run.threads) for path, run in done] == [
        ("l-a.json", 1), ("l-a.json", 4), ("l-b.json", 1), ("l-b.json", 4),
    ]  # fmt: skip
    assert problems == []


class Terminal(io.StringIO):
    """Standard error where somebody looks at it."""

    def isatty(self) -> bool:
        return True


def test_a_devices_line_of_progress_says_which_thread_count_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Terminal()
    monkeypatch.setattr(sys, "stderr", seen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    profile_devices(job(1, 4), [Phone("[fe80::1%wlan0]:5555", steady), Phone("[/]\x07", steady)], tmp_path / "l.json")
    shown = seen.getvalue()
    assert "[fe80::1%wlan0]:5555, 4 thread(s): measuring, 5 blocks" in shown
    assert "[/]\\x07, 4 thread(s): measuring, 5 blocks" in shown
    assert "\x07" not in shown


def lost_with(threads: int) -> Phone:
    """A phone that goes away when it is measured with so many threads."""

    class Leaving(Phone):
        def open(self, *arguments: Any) -> Any:
            if arguments[-1] == threads:
                raise MeasurementError("it went away")
            return super().open(*arguments)

    return Leaving("phone", steady)


def test_resume_keeps_what_is_finished_and_measures_the_rest(tmp_path: Path) -> None:
    out, back = tmp_path / "l.json", Phone("phone", lambda *_: 7.0)
    with pytest.raises(MeasurementError, match="it went away"):
        profile_devices(job(1, 4), [lost_with(threads=4)], out)
    (first,) = load_latency(out).runs
    done, _ = profile_devices(job(1, 4, resume=True), [back], out)
    assert [run.threads for _, run in done] == [1, 4]
    assert done[0][1] == first
    assert [action[0] for action in back.log].count("open") == 1
    assert {sample for entry in done[1][1].entries for block in entry.blocks_ms for sample in block} == {7.0}


@pytest.mark.parametrize("resume", [None, False])
def test_without_resume_what_is_finished_is_measured_anew(tmp_path: Path, resume: bool | None) -> None:
    out = tmp_path / "l.json"
    profile_devices(job(), [Phone("phone", steady)], out)
    ((_, run),) = profile_devices(job(resume=resume), [Phone("phone", lambda *_: 7.0)], out)[0]
    assert run.entries[0].blocks_ms[0][0] == 7.0
    assert load_latency(out).runs == [run]


@pytest.mark.parametrize("other", [{"ci": 0.5}, {"sustained_seconds": 1.0}])
def test_resume_keeps_no_run_of_other_settings(tmp_path: Path, other: dict[str, float]) -> None:
    out = tmp_path / "l.json"
    profile_devices(job(), [Phone("phone", steady)], out)
    again = Phone("phone", lambda *_: 7.0)
    profile_devices(job(resume=True, **other), [again], out)
    assert again.log != []


def test_a_device_that_fails_is_named_and_stops_no_other(tmp_path: Path) -> None:
    def failing(_: tuple[str, ...], number: int) -> float:
        if number > 20:
            raise MeasurementError("it went away")
        return 2.0

    phones = [Phone("good", steady), Phone("bad", failing)]
    done, problems = profile_devices(job(min_runs=50, max_runs=50), phones, tmp_path / "l.json")
    assert [run.device for _, run in done] == ["good"]
    assert problems == ["bad: it went away"]
    with pytest.raises(MeasurementError, match="it went away"):
        profile_devices(job(min_runs=50, max_runs=50), [Phone("bad", failing)], tmp_path / "alone.json")


def test_an_interrupt_ends_devices_that_would_go_on_for_ever(tmp_path: Path) -> None:
    def interrupted(_: tuple[str, ...], number: int) -> float:
        if number > 30 and table_of(tmp_path / "l.json", "endless").exists():
            raise KeyboardInterrupt
        return 2.0

    endless = Phone("endless", steady)
    with pytest.raises(KeyboardInterrupt):
        phones = [Phone("interrupted", interrupted), endless]
        profile_devices(job(min_runs=10**7, max_runs=10**7), phones, tmp_path / "l.json")
    assert endless.log[-1] == ("close",)
    assert load_latency(table_of(tmp_path / "l.json", "endless")).runs[0].complete is False


def test_an_interrupt_ends_devices_that_are_kept_at_work_for_a_day(tmp_path: Path) -> None:
    def interrupted(_: tuple[str, ...], number: int) -> float:
        if number > 100 and working.log:
            raise KeyboardInterrupt
        return 2.0

    working = Phone("working", steady)
    with pytest.raises(KeyboardInterrupt):
        phones = [Phone("interrupted", interrupted), working]
        profile_devices(job(sustained_seconds=86400), phones, tmp_path / "l.json")
    assert working.log[-1] == ("close",)
    assert ("canary",) not in working.log, "it was still getting warm"
