"""`Container`: one container of a store, as a program holds it. It is a name for a row; what is asked of it is asked of the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from wherry.client.options import Words, words
from wherry.model.container import ExecRequest
from wherry.model.record import Record

if TYPE_CHECKING:
    from wherry.engine import Engine
    from wherry.engine.stream import Stream


class ExecResult(Record):
    """What a command in a container left: its exit code, and all it wrote."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def output(self) -> bytes:
        """docker-py's name for both outputs; here stderr comes behind stdout."""
        return self.stdout + self.stderr


class Container:
    """A container. Every method may raise NotFound when it was removed meanwhile."""

    def __init__(self, engine: Engine, id: str) -> None:
        self._engine = engine
        self.id: str = id
        self._attrs: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<Container: {self.short_id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Container) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    # -- what it is -----------------------------------------------------------------------------------------------------

    @property
    def short_id(self) -> str:
        """The first twelve digits of the id."""
        return self.id[:12]

    @property
    def attrs(self) -> dict[str, Any]:
        """docker's document of it, as it was when it was first looked at; `reload` looks again."""
        if self._attrs is None:
            self._attrs = self.inspect()
        return self._attrs

    def reload(self) -> None:
        """Look at the container again."""
        self._attrs = self.inspect()

    def inspect(self, *, size: bool = False) -> dict[str, Any]:
        """docker's document of it, as it is now. `size`: with SizeRw and SizeRootFs, in bytes."""
        return self._engine.containers.inspect(self.id, size)

    @property
    def name(self) -> str:
        return str(self.attrs["Name"])[1:]

    @property
    def status(self) -> str:
        """created, running, paused, restarting, exited or removing, as it is now."""
        self.reload()
        return str(self.attrs["State"]["Status"])

    @property
    def image(self) -> str:
        """The name it was created by."""
        return str(self.attrs["Config"]["Image"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.attrs["Config"]["Labels"] or {})

    # -- its life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it; nothing happens if it runs. Raises LaunchError."""
        self._engine.containers.start(self.id)

    def stop(self, *, timeout: int | None = None, signal: str = "") -> None:
        """Its stop signal, and KILL after `timeout` seconds (None: the container's own, 10 in the end; -1: never). Waits for the end."""
        self._engine.containers.stop(self.id, timeout_s=timeout, signal=signal)

    def restart(self, *, timeout: int | None = None, signal: str = "") -> None:
        """`stop` and `start`."""
        self._engine.containers.restart(self.id, timeout_s=timeout, signal=signal)

    def kill(self, signal: str | int = "KILL") -> None:
        """Send a signal to its first process. Raises Conflict when it does not run."""
        self._engine.containers.kill(self.id, str(signal))

    def remove(self, *, force: bool = False, v: bool = False) -> None:
        """Remove it with its files; `force` also while it runs, `v` with its anonymous volumes. Raises Conflict."""
        self._engine.containers.remove(self.id, force=force, volumes=v)

    def rename(self, name: str) -> None:
        """Give it another name. Raises Conflict, InvalidArgument."""
        self._engine.containers.rename(self.id, name)
        self._attrs = None

    def pause(self) -> None:
        """Stop all its processes where they are. Raises Conflict, Unsupported (no control groups)."""
        self._engine.containers.pause(self.id)

    def unpause(self) -> None:
        """Let them go on. Raises Conflict."""
        self._engine.containers.unpause(self.id)

    def healthcheck(self) -> bool:
        """Probe its health now; whether it went well. Raises NotFound (no check), Conflict (not running)."""
        return self._engine.containers.healthcheck(self.id)

    @property
    def health(self) -> str:
        """starting, healthy, unhealthy, or none, as it is now."""
        found = self.inspect()["State"].get("Health")
        return str(found["Status"]) if found else "none"

    @property
    def ports(self) -> dict[str, Any]:
        """Published ports as docker shows them: {"80/tcp": [{"HostIp": …, "HostPort": …}]}."""
        return dict(self.inspect()["NetworkSettings"]["Ports"] or {})

    def diff(self) -> list[tuple[str, str]]:
        """What it changed of its image: ("A", "C" or "D", path)."""
        return [(str(change.kind), str(change.path)) for change in self._engine.containers.diff(self.id)]

    def export(self, target: str | int) -> None:
        """Its files as a tar, to a path or a descriptor."""
        self._engine.containers.export(self.id, target)

    def get_archive(self, path: str, target: int) -> None:
        """A file or folder of it as a tar, written to a descriptor. Raises NotFound."""
        self._engine.containers.get_archive(self.id, path, target)

    def put_archive(self, path: str, source: int) -> None:
        """Unpack a tar, read from a descriptor, into a folder of it. Raises NotFound, ArchiveError."""
        self._engine.containers.put_archive(self.id, path, source)

    def wait(self, *, condition: str = "") -> int:
        """Wait for its end and return the exit code. `condition`: stopped, running, healthy, unhealthy, next-exit, removed."""
        return self._engine.containers.wait(self.id, condition)

    # -- what it says, what is said to it --------------------------------------------------------------------------------

    @overload
    def logs(
        self,
        *,
        stdout: bool = True,
        stderr: bool = True,
        stream: Literal[False] = False,
        follow: bool = False,
        timestamps: bool = False,
        tail: int = -1,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> bytes: ...

    @overload
    def logs(
        self,
        *,
        stdout: bool = True,
        stderr: bool = True,
        stream: Literal[True],
        follow: bool = False,
        timestamps: bool = False,
        tail: int = -1,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> Iterator[bytes]: ...

    def logs(
        self,
        *,
        stdout: bool = True,
        stderr: bool = True,
        stream: bool = False,
        follow: bool = False,
        timestamps: bool = False,
        tail: int = -1,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> bytes | Iterator[bytes]:
        """Its log: all at once, or with `stream` piece by piece. `follow` waits for more until the container ends.

        `tail`: only so many lines from the end, -1 for all. `since_ns`, `until_ns`: since the epoch. Raises Unsupported where the
        log driver keeps nothing.
        """
        pieces = self._engine.containers.logs(
            self.id, follow=follow, since_ns=since_ns, until_ns=until_ns, tail=tail, timestamps=timestamps
        )
        chosen = (data for kind, data in pieces if (stderr if kind == "stderr" else stdout))
        return chosen if stream else b"".join(chosen)

    def exec_run(
        self,
        cmd: Words,
        *,
        environment: Sequence[str] = (),
        user: str = "",
        workdir: str = "",
        privileged: bool = False,
        tty: bool = False,
        input: bytes | None = None,
    ) -> ExecResult:
        """Run a command in it to the end, with `input` on its standard input. Raises Conflict (not running), LaunchError (no such program)."""
        request = _exec_request(cmd, environment, user, workdir, privileged, tty, stdin=input is not None)
        with self._engine.containers.exec_stream(self.id, request) as stream:
            stdout, stderr = stream.communicate(input)
            return ExecResult(stream.exit_code or 0, stdout, stderr)

    def exec_stream(
        self,
        cmd: Words,
        *,
        environment: Sequence[str] = (),
        user: str = "",
        workdir: str = "",
        privileged: bool = False,
        tty: bool = False,
        stdin: bool = False,
    ) -> Stream:
        """Run a command in it and read and write its streams meanwhile. Raises Conflict, LaunchError."""
        request = _exec_request(cmd, environment, user, workdir, privileged, tty, stdin=stdin)
        return self._engine.containers.exec_stream(self.id, request)

    def attach(self, *, stdin: bool = False, stdout: bool = True, stderr: bool = True) -> Stream:
        """Its streams from now on. Raises Conflict when it does not run."""
        return self._engine.containers.attach_stream(self.id, stdin=stdin, stdout=stdout, stderr=stderr)


def _exec_request(
    cmd: Words, environment: Sequence[str], user: str, workdir: str, privileged: bool, tty: bool, *, stdin: bool
) -> ExecRequest:
    return ExecRequest(
        cmd=tuple(words(cmd)), env=tuple(environment), user=user, workdir=workdir, privileged=privileged, tty=tty, stdin=stdin
    )
