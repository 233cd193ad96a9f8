"""Makes the file system and the processes of one device, then waits until its standard input ends.

A program of its own: `python -I -S holder.py ROOT SANDBOX SUPPORT HOST_CPU ARM64_INTERPRETER`. It needs no privilege,
only Linux' user namespaces. Inside, this machine's folders are read-only, /data and /sdcard are the sandbox, commands
are user 2000 without any privilege, as on a phone, and end with the device. Prints the process that `nsenter` enters,
and whether arm64 programs are started with the interpreter.
"""

import ctypes
import os
import signal
import sys

NEW_MOUNTS, NEW_USERS, NEW_PROCESSES = 0x00020000, 0x10000000, 0x20000000
BIND, RECURSIVE = 0x1000, 0x4000
MOUNT_SETATTR, AT_RECURSIVE, ATTR_READ_ONLY = 442, 0x8000, 1
SHELL_USER = 2000
OURS = ("data", "sdcard", "system", "vendor", "storage", "sys", "proc")
ARM64_MAGIC = rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
ARM64_MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library; its error becomes an OSError."""
    if getattr(LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0) -> None:
    """Mount."""
    call("mount", source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), None)


def new_namespaces(flags: int, user: int) -> None:
    """Move into new namespaces, where this process is `user` and may mount."""
    uid, gid = os.geteuid(), os.getegid()
    call("unshare", NEW_USERS | NEW_MOUNTS | flags)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {uid} 1"), ("gid_map", f"{user} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - pathlib would double the start-up
            file.write(text)


def show(source: str, target: str, read_only: bool) -> None:
    """Show a folder, with all that is mounted in it, at a place of the device."""
    os.makedirs(target, exist_ok=True)  # noqa: PTH103
    mount(source, target, None, BIND | RECURSIVE)
    if read_only:
        attributes = (ctypes.c_uint64 * 4)(ATTR_READ_ONLY, 0, 0, 0)
        call("syscall", MOUNT_SETATTR, -100, target.encode(), AT_RECURSIVE, attributes, ctypes.sizeof(attributes))


def build_root(root: str, sandbox: str, support: str, host_cpu: bool) -> None:
    """Fill `root` with this machine's folders and the device's own."""
    mount("tmpfs", root, "tmpfs")
    for entry in os.scandir("/"):
        if entry.name in OURS:
            continue
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), root + entry.path)  # noqa: PTH115, PTH211
        elif entry.is_dir():
            show(entry.path, root + entry.path, read_only=entry.name != "dev")
    for name in ("data", "sdcard"):
        show(f"{sandbox}/{name}", f"{root}/{name}", read_only=False)
    show(f"{support}/system", f"{root}/system", read_only=True)
    show(f"{support}/state", f"{root}/system/emulator", read_only=False)
    for name in os.listdir(f"{support}/etc"):  # noqa: PTH208
        mount(f"{support}/etc/{name}", f"{root}/etc/{name}", None, BIND)
    show("/sys" if host_cpu else f"{support}/sys", f"{root}/sys", read_only=True)


def start_arm64_programs_with(interpreter: str, root: str) -> bool:
    """Have the kernel start arm64 programs with another, for this device only. False before Linux 6.7."""
    place = f"{root}/binfmt"
    os.mkdir(place)  # noqa: PTH102
    try:
        mount("binfmt_misc", place, "binfmt_misc")
        with open(f"{place}/register", "wb") as file:  # noqa: PTH123
            file.write(b":dsnet-arm64:M::%b:%b:%b:" % (ARM64_MAGIC, ARM64_MASK, interpreter.encode()))
    except OSError:
        return False
    return True


def main(root: str, sandbox: str, support: str, host_cpu: str, arm64_interpreter: str) -> None:
    """Build the device; its first process is a child, as only children live in new process namespaces."""
    new_namespaces(0, 0)
    build_root(root, sandbox, support, host_cpu == "host")
    os.mkdir(f"{root}/proc")  # noqa: PTH102
    arm64 = start_arm64_programs_with(arm64_interpreter, root)
    # A second time, as mounting wants user 0 and phones have no user 0 for commands.
    new_namespaces(NEW_PROCESSES, SHELL_USER)
    ready, tell_ready = os.pipe()
    child = os.fork()
    if child:
        os.close(tell_ready)
        if os.read(ready, 1):
            print(child, arm64, flush=True)
        os.waitpid(child, 0)
        return
    mount("proc", f"{root}/proc", "proc")
    if host_cpu != "host":
        for name in os.listdir(f"{support}/proc"):  # noqa: PTH208
            mount(f"{support}/proc/{name}", f"{root}/proc/{name}", None, BIND)
    os.chroot(root)
    os.chdir("/")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans are reaped
    os.write(tell_ready, b"!")
    sys.stdin.read()


main(*sys.argv[1:])
