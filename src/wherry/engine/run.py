"""Running, starting and attaching: the parts of a container's life that a client watches."""

from __future__ import annotations

import os

from wherry.engine import launch, limits
from wherry.engine.create import create, finish
from wherry.errors import Conflict, InvalidArgument, WherryError
from wherry.model.record import Record
from wherry.runtime import wire
from wherry.runtime.attach import Outcome, Session, Streams, parse_detach_keys, window_size
from wherry.store import actual, containers, events, removal
from wherry.store.locks import FolderLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    from wherry.engine import Engine
    from wherry.model.container import CreateRequest
    from wherry.store.containers import ContainerRow


class RunResult(Record):
    """`exit_code` is None for a container that goes on: `-d`, or left by the detach keys (`detached`)."""

    id: str
    exit_code: int | None = None
    detached: bool = False


def run(engine: Engine, request: CreateRequest, *, detach: bool, attach: frozenset[str], sig_proxy: bool, detach_keys: str) -> RunResult:
    """Create and start; unless `detach`, stay attached until the end.

    A container that could not be started stays in the store as created, with its error; one with `--rm` is removed.
    """
    keys = parse_detach_keys(detach_keys)
    watched_and_dropped = bool(request.host.get("AutoRemove")) and not detach
    _cidfile_is_free(request.cidfile)
    row = create(engine, request, wanted="running", durable=not watched_and_dropped)
    try:
        _write_cidfile(request.cidfile, row.id)
        if detach:
            started_or_removed(engine, row, None)
            limits.warn_of_logout(engine)
            return RunResult(row.id)
        return _run_attached(engine, row, _streams(row.record()["Config"], attach, sig_proxy, keys))
    finally:
        finish(engine.store, row.id)


def _run_attached(engine: Engine, row: ContainerRow, streams: Streams) -> RunResult:
    ours, theirs = wire.pair()
    with Session(ours, streams, lambda: wire.connect(engine.store.run_path(row.id))) as session:
        events.container(engine.store, row, "attach")
        started_or_removed(engine, row, theirs, streams)
        finish(engine.store, row.id)
        if row.auto_remove:
            say(ours, wire.record(wire.CLAIM))
        outcome = session.run()
    return _ended(engine, row, ours, outcome)


def say(stream: socket, record: bytes) -> None:
    """A monitor whose container was quick has left already; what it has said is still to be read."""
    try:
        stream.send(record)
    except (BrokenPipeError, ConnectionResetError):
        return


def started_or_removed(engine: Engine, row: ContainerRow, theirs: socket | None, streams: Streams | None = None) -> None:
    try:
        size = _size(streams) if streams else (0, 0)
        launch.launch(engine, row, theirs, size=size, fresh=True)
    except BaseException:
        if row.auto_remove:
            try:
                with FolderLock(engine.store.path("containers", row.id), "container"):
                    removal.remove_locked(engine.store, row.id)
            except WherryError:
                # What forbids the start may forbid this too; the next command finishes it, and the cause is what counts.
                pass
        raise


def _ended(engine: Engine, row: ContainerRow, stream: socket, outcome: Outcome) -> RunResult:
    if outcome.detached:
        return RunResult(row.id, None, True)
    if '"volume"' in row.record_text:
        from wherry.engine import volume_launch

        drain(stream)
        volume_launch.settle(engine, row)
    if row.auto_remove:
        drain(stream)
        # The monitor has taken the tree apart; the row is ours to delete. A crash before it is durable leaves a row
        # without a folder, which every command knows as a removal to finish.
        with engine.store.db.transaction(durable=False) as db:
            events.remove_row(engine.store, db, row.id)
        if '"volume"' in row.record_text:
            volume_launch.drop_doomed(engine.store)
    return RunResult(row.id, outcome.exit_code)


def drain(stream: socket) -> None:
    """Wait until the monitor is gone."""
    stream.setblocking(True)
    try:
        while stream.recv(wire.BUFFER):
            continue
    except OSError:
        return


def start(engine: Engine, name: str, *, attach: bool, stdin: bool, sig_proxy: bool, detach_keys: str) -> int | None:
    """Start a container that exists; nothing happens if it runs already (attached, it is attached to)."""
    keys = parse_detach_keys(detach_keys)
    row = containers.find(engine.store.db, name)
    if not (attach or stdin):
        launch.launch(engine, row, None)
        return None
    config = row.record()["Config"]
    wanted = frozenset(("stdout", "stderr") + (("stdin",) if stdin and config.get("OpenStdin") else ()))
    streams = _streams(config, wanted, sig_proxy, keys)
    if actual.read(engine.store, row).alive:
        return _attached(engine, row, streams)
    ours, theirs = wire.pair()
    with Session(ours, streams, lambda: wire.connect(engine.store.run_path(row.id))) as session:
        events.container(engine.store, row, "attach")
        launch.launch(engine, row, theirs, size=_size(streams))
        if row.auto_remove:
            say(ours, wire.record(wire.CLAIM))
        outcome = session.run()
    return _ended(engine, row, ours, outcome).exit_code


def attach(engine: Engine, name: str, *, stdin: bool, sig_proxy: bool, detach_keys: str) -> int | None:
    """Attach to a running container until it ends (its exit code) or the user detaches (None)."""
    keys = parse_detach_keys(detach_keys)
    row = containers.find(engine.store.db, name)
    state = actual.read(engine.store, row)
    if not state.alive:
        raise Conflict("You cannot attach to a stopped container, start it first")
    if state.status == "paused":
        raise Conflict("You cannot attach to a paused container, unpause it first")
    if state.status == "restarting":
        raise Conflict("You cannot attach to a restarting container, wait until it is running")
    config = row.record()["Config"]
    wanted = frozenset(("stdout", "stderr") + (("stdin",) if stdin and config.get("OpenStdin") else ()))
    return _attached(engine, row, _streams(config, wanted, sig_proxy, keys))


def _attached(engine: Engine, row: ContainerRow, streams: Streams) -> int | None:
    folder = engine.store.run_path(row.id)
    stream = wire.connect(folder)
    wanted = (
        (wire.STREAM_STDIN if streams.stdin >= 0 else 0)
        | (wire.STREAM_STDOUT if streams.stdout >= 0 else 0)
        | (wire.STREAM_STDERR if streams.stderr >= 0 else 0)
    )
    with Session(stream, streams, lambda: wire.connect(folder)) as session:
        events.container(engine.store, row, "attach")
        say(stream, wire.record(wire.ATTACH, wanted.to_bytes(4, "little")))
        if row.auto_remove:
            say(stream, wire.record(wire.CLAIM))
        outcome = session.run()
    return _ended(engine, row, stream, outcome).exit_code


def _streams(config: dict[str, Any], attach: frozenset[str], sig_proxy: bool, keys: bytes) -> Streams:
    tty = bool(config.get("Tty"))
    stdin = 0 if "stdin" in attach and config.get("OpenStdin") else -1
    if tty and stdin == 0 and not os.isatty(0):
        raise InvalidArgument("cannot attach stdin to a TTY-enabled container because stdin is not a terminal", exit_code=1)
    return Streams(
        stdin=stdin,
        stdout=1 if "stdout" in attach else -1,
        stderr=2 if "stderr" in attach else -1,
        tty=tty,
        sig_proxy=sig_proxy,
        detach_keys=keys,
    )


def _size(streams: Streams) -> tuple[int, int]:
    if not streams.tty:
        return 0, 0
    rows, columns = window_size(streams.stdin if streams.stdin >= 0 else 1)
    return rows, columns


def _cidfile_is_free(path: str) -> None:
    if path and os.path.lexists(path):
        raise WherryError(f"container ID file found, make sure the other container isn't running or delete {path}", exit_code=125)


def _write_cidfile(path: str, container_id: str) -> None:
    if not path:
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise WherryError(f"failed to create the container ID file: {path}: {os.strerror(error.errno or 0)}", exit_code=125) from error
    try:
        os.write(fd, container_id.encode())
    finally:
        os.close(fd)
