"""Streams of a process for programs: what `run`, `exec` and `attach` show a terminal comes as values here, and no signal is touched."""

from __future__ import annotations

import select

from wherry.engine import execute, launch
from wherry.engine.create import create, finish
from wherry.engine.run import drain, say, started_or_removed
from wherry.errors import Conflict, MonitorError
from wherry.runtime import wire
from wherry.store import actual, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Iterator

    from wherry.engine import Engine
    from wherry.model.container import CreateRequest, ExecRequest

_NAMES = {wire.OUT: "stdout", wire.ERR: "stderr"}
_CHUNK = 32 * 1024


class Stream:
    """A process's standard streams. Iterate over it for pieces as (stream, bytes), until the process has ended.

    `id` is the container's. With a terminal all output is "stdout". A stream that nobody reads holds the process back, as a
    full pipe does. Leaving it as a context manager, or `close()`, detaches: the process goes on.
    """

    def __init__(self, container_id: str, connection: socket, at_end: Callable[[], None] | None = None) -> None:
        self.id = container_id
        self._socket = connection
        self._at_end = at_end
        self._code: int | None = None

    @property
    def exit_code(self) -> int | None:
        """The process's exit code; None before its end was read."""
        return self._code

    def fileno(self) -> int:
        """For select and poll: readable when there is output, or the end."""
        return self._socket.fileno()

    def read(self) -> tuple[str, bytes] | None:
        """The next piece of output, waited for; None at the end. Raises MonitorError when the monitor was killed."""
        while self._code is None:
            try:
                message: bytes = self._socket.recv(wire.BUFFER)
            except ConnectionResetError:
                # The monitor has left words of ours unread; what it has sent is still to be had behind this error.
                continue
            piece = self._taken(message)
            if piece is not None:
                return piece
        return None

    def _taken(self, message: bytes) -> tuple[str, bytes] | None:
        if not message:
            raise MonitorError("the container's monitor was killed", hint="its container has ended with it")
        kind = wire.kind_of(message)
        if kind == wire.EXIT:
            self._code = wire.i64(message, 0)
            if self._at_end is not None:
                self._at_end()
            self._socket.close()
        elif kind in _NAMES:
            return _NAMES[kind], message[wire.HEADER :]
        return None

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        while True:
            piece = self.read()
            if piece is None:
                return
            yield piece

    def write(self, data: bytes) -> None:
        """Send input. Waits while the process takes none; see `communicate` for input and output at once."""
        for at in range(0, len(data), _CHUNK):
            say(self._socket, wire.record(wire.STDIN, data[at : at + _CHUNK]))

    def close_stdin(self) -> None:
        """End the input: the process reads end of file."""
        say(self._socket, wire.record(wire.STDIN_EOF))

    def resize(self, rows: int, columns: int) -> None:
        """Tell a terminal its size, in characters."""
        say(self._socket, wire.record(wire.RESIZE, rows.to_bytes(4, "little") + columns.to_bytes(4, "little")))

    def communicate(self, input: bytes | None = None) -> tuple[bytes, bytes]:
        """Send `input` and its end (None: neither), read to the end; all of stdout and stderr."""
        parts: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        records = [] if input is None else [wire.record(wire.STDIN, input[at : at + _CHUNK]) for at in range(0, len(input), _CHUNK)]
        if input is not None:
            records.append(wire.record(wire.STDIN_EOF))
        records.reverse()
        self._socket.setblocking(not records)
        while self._code is None:
            if records and self._writable():
                self._send_last(records)
                if not records:
                    self._socket.setblocking(True)
                continue
            try:
                piece = self._taken(self._socket.recv(wire.BUFFER))
            except (BlockingIOError, ConnectionResetError):
                continue
            if piece is not None:
                parts[piece[0]].append(piece[1])
        return b"".join(parts["stdout"]), b"".join(parts["stderr"])

    def _writable(self) -> bool:
        """Wait until it can be read or written; False when there is something to read, which comes first."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLOUT)
        return not poll.poll()[0][1] & ~select.POLLOUT

    def _send_last(self, records: list[bytes]) -> None:
        try:
            self._socket.send(records[-1])
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            records.clear()
            return
        del records[-1]

    def wait(self) -> int:
        """Throw the rest of the output away; the exit code."""
        for _piece in self:
            continue
        return self._code or 0

    def close(self) -> None:
        """Leave; a process that still runs goes on."""
        self._socket.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def run(engine: Engine, request: CreateRequest) -> Stream:
    """Create and start a container, attached. With AutoRemove the reader of the end removes it. Raises what `run` raises."""
    row = create(engine, request, wanted="running", durable=not request.host.get("AutoRemove"))
    ours, theirs = wire.pair()
    try:
        started_or_removed(engine, row, theirs)
    except BaseException:
        _close(ours, theirs)
        raise
    finally:
        finish(engine.store, row.id)
    if row.auto_remove:
        say(ours, wire.record(wire.CLAIM))
    return Stream(row.id, ours, _removal(engine, row.id, ours) if row.auto_remove else None)


def _removal(engine: Engine, container_id: str, connection: socket) -> Callable[[], None]:
    def remove() -> None:
        drain(connection)
        with engine.store.db.transaction(durable=False) as db:
            containers.delete(db, container_id)

    return remove


def attach(engine: Engine, name: str, *, stdin: bool, stdout: bool, stderr: bool) -> Stream:
    """The streams of a running container from now on. Raises NotFound, Conflict."""
    row = containers.find(engine.store.db, name)
    if actual.read(engine.store, row).status != "running":
        raise Conflict(f"container {row.id} is not running")
    connection = wire.connect(engine.store.run_path(row.id))
    wanted = (stdin and wire.STREAM_STDIN) | (stdout and wire.STREAM_STDOUT) | (stderr and wire.STREAM_STDERR)
    say(connection, wire.record(wire.ATTACH, wanted.to_bytes(4, "little")))
    return Stream(row.id, connection)


def start(engine: Engine, name: str) -> Stream:
    """Start a stopped container, attached from its first byte on."""
    row = containers.find(engine.store.db, name)
    ours, theirs = wire.pair()
    try:
        started = launch.launch(engine, row, theirs)
    except BaseException:
        _close(ours, theirs)
        raise
    if started is None:
        _close(ours, theirs)
        return attach(engine, row.id, stdin=True, stdout=True, stderr=True)
    return Stream(row.id, ours)


def exec(engine: Engine, name: str, request: ExecRequest) -> Stream:
    """A command in a running container. Raises NotFound, Conflict (not running), LaunchError."""
    row, state = launch.running(engine.store, name)
    plan, pidfile = execute.planned(engine, row, state, request)
    ours, theirs = wire.pair()
    try:
        warnings = execute.started(engine, row.id, plan, theirs, pidfile).warnings
    except BaseException:
        _close(ours, theirs)
        raise
    for text in warnings:
        engine.warn(text)
    return Stream(row.id, ours)


def _close(*sockets: socket) -> None:
    for each in sockets:
        each.close()
