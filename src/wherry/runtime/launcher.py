"""Starting the native program with a plan, and reading how it went."""

from __future__ import annotations

import os

from wherry.errors import LaunchError
from wherry.kernel import native
from wherry.model.record import Record
from wherry.runtime import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from wherry.runtime.plan import Plan


class Started(Record):
    """A process runs. Pids are the host's; starts are clock ticks since boot."""

    pid: int
    pid_start: int
    monitor_pid: int
    monitor_start: int
    warnings: tuple[str, ...] = ()


def start_container(plan: Plan, run_folder: str, attach: socket | None) -> Started:
    """Launch a container: write its plan to the run folder, start the monitor, wait for its word.

    `attach` is our end's peer: it becomes the first attached client. Raises LaunchError with docker's text and exit code.
    """
    path = run_folder + "/plan"
    _write(path, plan.encode())
    return _spawn(plan, ["run", path], attach, ())


def start_exec(plan: Plan, attach: socket | None, pidfile: str) -> Started:
    """Launch a process in a running container."""
    fd = os.memfd_create("wherry-plan", os.MFD_CLOEXEC)
    try:
        _write_fd(fd, plan.encode())
        return _spawn(plan, ["exec"], attach, (fd,), pidfile)
    finally:
        os.close(fd)


def _spawn(plan: Plan, words: list[str], attach: socket | None, first: tuple[int, ...], last: str = "") -> Started:
    ours, theirs = wire.pair()
    sources = [*first, theirs.fileno(), *([attach.fileno()] if attach else [])]
    # Targets lie above all sources, so that no dup2 overwrites a descriptor that another one still needs.
    target = max([*sources, *plan.inherited]) + 1
    actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in plan.inherited]  # onto itself: no longer close-on-exec
    numbers = []
    for source in sources:
        actions.append((os.POSIX_SPAWN_DUP2, source, target))
        numbers.append(str(target))
        target += 1
    if not attach and words[0] == "exec":
        numbers.append("-1")
    program = native.path()
    argv = ["wherry-native", *words, *numbers, *([last] if last else [])]
    try:
        pid = os.posix_spawn(program, argv, {"PATH": os.environ.get("PATH", os.defpath)}, file_actions=actions, setsigmask=())
    except OSError as error:
        ours.close()
        raise LaunchError(f"cannot execute {program}: {os.strerror(error.errno or 0)}", errno=error.errno or 0) from error
    finally:
        theirs.close()
        for fd in plan.inherited:
            os.close(fd)
        plan.inherited.clear()
        if attach:
            attach.close()
    try:
        return _outcome(plan, ours)
    finally:
        ours.close()
        # Stage 0 has passed the word on and exits; the monitor is not our child.
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            # A caller that ignores SIGCHLD: the kernel has reaped it.
            pass


def _outcome(plan: Plan, status: socket) -> Started:
    warnings: list[str] = []
    while True:
        try:
            message: bytes = status.recv(wire.BUFFER)
        except ConnectionResetError:
            message = b""
        if not message:
            raise LaunchError("the launcher was killed before the container's process ran")
        kind = wire.kind_of(message)
        if kind == wire.STARTED:
            pid, pid_start, monitor_pid, monitor_start = (wire.i64(message, i) for i in range(4))
            return Started(pid, pid_start, monitor_pid, monitor_start, tuple(warnings))
        if kind == wire.WARNING:
            length = int.from_bytes(message[wire.HEADER : wire.HEADER + 4], "little")
            warnings.append(os.fsdecode(message[wire.HEADER + 4 : wire.HEADER + 4 + length]))
        elif kind == wire.FAILED:
            from wherry.runtime.failure import launch_error

            detail_at = wire.HEADER + 16
            length = int.from_bytes(message[detail_at : detail_at + 4], "little")
            detail = os.fsdecode(message[detail_at + 4 : detail_at + 4 + length])
            raise launch_error(plan, wire.i64(message, 0), wire.i64(message, 1), detail)


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_fd(fd, data)
    finally:
        os.close(fd)


def _write_fd(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
