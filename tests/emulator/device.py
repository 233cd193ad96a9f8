"""The emulated device: a thread with its own event loop, one port, and what hangs together behind it."""

import asyncio
import socket
import subprocess
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.emulator.child import Child
from tests.emulator.connection import Connection, Service, Stream
from tests.emulator.faults import Fault, Faults
from tests.emulator.log import Log
from tests.emulator.sandbox import sandbox_of
from tests.emulator.shell import SDK_WITHOUT_CARRIAGE_RETURNS, Command
from tests.emulator.state import DeviceState
from tests.emulator.sync import Sync


class Emulator:
    """An Android device that `adb connect` finds at `serial` while the `with` block lasts."""

    def __init__(self, state: DeviceState, folder: Path) -> None:
        """`folder` becomes the device's storage: /data and /sdcard are folders in it."""
        self.state = state
        self.folder = folder
        self.log = Log()
        self.faults = Faults(folder, self._vanish)
        self._bugs: list[BaseException] = []
        self._children: set[Child] = set()
        self._connections: set[Connection] = set()
        self._listening: asyncio.Server | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start the device."""
        with ExitStack() as stack:
            # Bound but not listening: the port stays this device's own while the device is away.
            self._reserved = stack.enter_context(bound_socket(self.state.host, 0))
            self._port = self._reserved.getsockname()[1]
            self.sandbox = stack.enter_context(sandbox_of(self.state, self.folder))
            self._loop = asyncio.new_event_loop()
            thread = threading.Thread(target=self._loop.run_forever, name=self.serial)
            thread.start()
            stack.callback(self._end_loop, thread)
            self.state.changed = self._state_changed
            self.plug_in()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Switch the device off; its processes end."""
        self.state.changed = None
        self.faults.allow()
        self._stack.close()
        if self._bugs and error is None:
            raise AssertionError("the emulator itself failed") from self._bugs[0]

    @property
    def serial(self) -> str:
        """Return what adb calls the device."""
        host = self.state.host
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    def unplug(self) -> None:
        """Vanish: connections break and new ones are refused. What runs on the device goes on."""
        self._in_loop(self._unplug()).result()

    def plug_in(self) -> None:
        """Come back, at the same port. adb looks for lost devices by itself."""
        self._in_loop(self._plug_in()).result()

    def path(self, path: str) -> Path:
        """Return where this machine has a file of /data or /sdcard."""
        return self.folder / path.lstrip("/")

    def processes(self) -> dict[int, str]:
        """Return the command lines of what runs on the device, by process number; zombies are not among them."""
        return self.sandbox.processes()

    def shell(self, command: str) -> str:
        """Run a command behind adb's back and return its standard output; it is not logged and has no faults."""
        argv, environment = self.sandbox.argv(command), self.sandbox.environment()
        return subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    def install_tool(self, name: str, script: str) -> None:
        """Put a program, mostly a script for /system/bin/sh, into the device's PATH."""
        self.sandbox.install_tool(name, script)

    def remove_tool(self, name: str) -> None:
        """Take a program out of the device's PATH: older devices have fewer."""
        self.sandbox.remove_tool(name)

    def install_app(self, package: str, script: str) -> None:
        """Install an app: `am start` runs the script, for /system/bin/sh, in a process that bears the package's name.

        Its arguments are the values of the intent's extras. What else it is to execute is put into its folder.
        """
        folder = self.path(app_folder(package))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "main").write_text(script)
        (folder / package).unlink(missing_ok=True)
        (folder / package).symlink_to("/system/bin/sh")
        self.state.packages = (*{*self.state.packages, package},)

    async def _plug_in(self) -> None:
        if self._listening is None:
            self._listening = await asyncio.start_server(self._serve, sock=bound_socket(self.state.host, self._port))

    async def _unplug(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for connection in list(self._connections):
            connection.drop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self.state, self._find_service, self._bugs.append)
        self._connections.add(connection)
        try:
            await connection.serve()
        except AssertionError as error:
            self._bugs.append(error)
        self._connections.discard(connection)

    def _find_service(self, name: str) -> Service | None:
        kind, _, argument = name.partition(":")
        kind, *options = kind.split(",")
        if kind == "sync":
            return self._sync
        if kind in ("shell", "exec"):
            return lambda stream: self._run(stream, argument, plain="v2" not in options, merged=kind == "shell")
        return None

    async def _sync(self, stream: Stream) -> None:
        await stream.pause(self.faults.delay)
        await Sync(stream, self.sandbox, self).serve()

    async def _run(self, stream: Stream, command: str, plain: bool, merged: bool) -> None:
        entry = self.log.add("command", command)
        watch = self.faults.watch("command", command)
        await stream.pause(watch.delay)
        argv = self.sandbox.argv("while true; do sleep 1000; done" if watch.hangs else command or "sh")
        environment = self.sandbox.environment()
        child = await Child.start(argv, environment, merged=plain and merged, on_end=self._learn)
        self._children.add(child)
        running = Command(stream, child, entry, watch)
        if plain:
            await running.run_plain(merged and self.state.sdk < SDK_WITHOUT_CARRIAGE_RETURNS)
        else:
            await running.run_v2()
        await stream.settled()
        await watch.end()

    async def _vanish(self, fault: Fault) -> None:
        await self._unplug()
        if fault.back_after is not None:
            self._loop.call_later(fault.back_after, lambda: self._loop.create_task(self._plug_in()))
        fault.happened.set()

    def _learn(self) -> None:
        """Take over what commands changed."""
        self.state.__dict__["settings"] = self.sandbox.read_settings()
        self.state.__dict__["fixed_performance"] = self.sandbox.read_fixed_performance()

    def _state_changed(self, name: str) -> None:
        self.sandbox.write_state(name)

    def _in_loop(self, work: Coroutine[Any, Any, None]) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _end_loop(self, thread: threading.Thread) -> None:
        self._in_loop(self._finish()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        await self._unplug()
        self.sandbox.stop()
        for child in self._children:
            child.abandon()
            await child.ended.wait()
        for connection in list(self._connections):
            await connection.finish()


def app_folder(package: str) -> str:
    """Return the folder of an installed app on the device."""
    return f"/data/app/{package}"


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to a port, a free one for 0, which does not listen yet."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, proto=socket.IPPROTO_TCP)  # else asyncio lets small packets wait for 40 ms
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    return bound
