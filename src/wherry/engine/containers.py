"""`Engine.containers`: one method for each use case. The work is in the modules beside this one, loaded when used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator
    from typing import Any

    from wherry.engine import Engine
    from wherry.engine.commit import CommitRequest
    from wherry.engine.copy import PathStat
    from wherry.engine.create import CreateResult
    from wherry.engine.diff import Change
    from wherry.engine.run import RunResult
    from wherry.engine.stats import Usage
    from wherry.engine.stream import Stream
    from wherry.engine.top import Processes
    from wherry.errors import WherryError
    from wherry.model.container import ContainerSummary, CreateRequest, ExecRequest

ATTACH_OUTPUT = frozenset(("stdout", "stderr"))


class Containers:
    """What can be done with containers. Names are docker's: a name, an id, or the unique beginning of one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, request: CreateRequest) -> CreateResult:
        from wherry.engine.create import CreateResult, create

        self._engine.sweep()
        return CreateResult(create(self._engine, request).id)

    def run(
        self,
        request: CreateRequest,
        *,
        detach: bool = False,
        attach: frozenset[str] = ATTACH_OUTPUT,
        sig_proxy: bool = True,
        detach_keys: str = "",
    ) -> RunResult:
        from wherry.engine.run import run

        self._engine.sweep()
        return run(self._engine, request, detach=detach, attach=attach, sig_proxy=sig_proxy, detach_keys=detach_keys)

    def start(self, name: str, *, attach: bool = False, stdin: bool = False, sig_proxy: bool = True, detach_keys: str = "") -> int | None:
        """Start a container; with `attach` or `stdin` return its exit code (None when detached)."""
        from wherry.engine.run import start

        self._engine.sweep()
        return start(self._engine, name, attach=attach, stdin=stdin, sig_proxy=sig_proxy, detach_keys=detach_keys)

    def attach(self, name: str, *, stdin: bool = True, sig_proxy: bool = True, detach_keys: str = "") -> int | None:
        from wherry.engine.run import attach

        return attach(self._engine, name, stdin=stdin, sig_proxy=sig_proxy, detach_keys=detach_keys)

    def exec(self, name: str, request: ExecRequest) -> int | None:
        from wherry.engine.execute import execute

        return execute(self._engine, name, request)

    def run_stream(self, request: CreateRequest) -> Stream:
        """Create and start; the process's streams as values."""
        from wherry.engine import stream

        self._engine.sweep()
        return stream.run(self._engine, request)

    def start_stream(self, name: str) -> Stream:
        from wherry.engine import stream

        self._engine.sweep()
        return stream.start(self._engine, name)

    def attach_stream(self, name: str, *, stdin: bool = False, stdout: bool = True, stderr: bool = True) -> Stream:
        from wherry.engine import stream

        return stream.attach(self._engine, name, stdin=stdin, stdout=stdout, stderr=stderr)

    def exec_stream(self, name: str, request: ExecRequest) -> Stream:
        from wherry.engine import stream

        return stream.exec(self._engine, name, request)

    def stop(self, name: str, *, timeout_s: int | None = None, signal: str = "") -> None:
        from wherry.engine.lifecycle import stop

        self._engine.sweep_before_making_room()
        stop(self._engine, name, timeout_s=timeout_s, signal=signal)

    def restart(self, name: str, *, timeout_s: int | None = None, signal: str = "") -> None:
        from wherry.engine.lifecycle import restart

        self._engine.sweep()
        restart(self._engine, name, timeout_s=timeout_s, signal=signal)

    def kill(self, name: str, signal: str = "KILL") -> None:
        from wherry.engine.lifecycle import kill

        self._engine.sweep_before_making_room()
        kill(self._engine, name, signal)

    def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> None:
        from wherry.engine.lifecycle import remove

        self._engine.sweep_before_making_room()
        remove(self._engine, name, force=force, volumes=volumes)

    def start_many(self, names: list[str]) -> Iterator[tuple[str, WherryError | None]]:
        return self._many(names, lambda name: self.start(name))

    def stop_many(self, names: list[str], *, timeout_s: int | None = None, signal: str = "") -> Iterator[tuple[str, WherryError | None]]:
        from wherry.engine.lifecycle import stop_many

        self._engine.sweep_before_making_room()
        return stop_many(self._engine, names, timeout_s=timeout_s, signal=signal)

    def kill_many(self, names: list[str], *, signal: str = "KILL") -> Iterator[tuple[str, WherryError | None]]:
        return self._many(names, lambda name: self.kill(name, signal))

    def restart_many(self, names: list[str], *, timeout_s: int | None = None, signal: str = "") -> Iterator[tuple[str, WherryError | None]]:
        return self._many(names, lambda name: self.restart(name, timeout_s=timeout_s, signal=signal))

    def remove_many(self, names: list[str], *, force: bool = False, volumes: bool = False) -> Iterator[tuple[str, WherryError | None]]:
        from wherry.engine.lifecycle import remove_many

        self._engine.sweep_before_making_room()
        return remove_many(self._engine, names, force=force, volumes=volumes)

    def pause(self, name: str) -> None:
        """Stop all its processes where they stand. Raises Conflict where there is no freezer: never half."""
        from wherry.engine.pausing import pause

        pause(self._engine, name)

    def unpause(self, name: str) -> None:
        from wherry.engine.pausing import unpause

        unpause(self._engine, name)

    def pause_many(self, names: list[str]) -> Iterator[tuple[str, WherryError | None]]:
        return self._many(names, self.pause)

    def unpause_many(self, names: list[str]) -> Iterator[tuple[str, WherryError | None]]:
        return self._many(names, self.unpause)

    def update(self, name: str, changes: dict[str, Any], *, restart: dict[str, Any] | None = None) -> list[str]:
        """Change limits (keys and units of HostConfig: bytes, nanoseconds of CPU time a second, …) and the restart policy.

        Sentences on what is not in force.
        """
        from wherry.engine.update import update

        return update(self._engine, name, changes, restart)

    def top(self, name: str, ps_options: list[str] | None = None) -> Processes:
        from wherry.engine.top import top

        return top(self._engine, name, ps_options or [])

    def stats(
        self, names: list[str] | None = None, *, all: bool = False, stream: bool = True, interval_s: float = 1.0
    ) -> Iterator[list[Usage]]:
        """What containers use, once or again and again; without names what runs."""
        from wherry.engine.stats import stats

        self._engine.sweep()
        return stats(self._engine, names or [], all=all, stream=stream, interval_s=interval_s)

    def commit(self, name: str, request: CommitRequest) -> str:
        """Make an image of what a container is and has; its id."""
        from wherry.engine.commit import commit

        self._engine.sweep()
        return commit(self._engine, name, request)

    def copy_out(self, name: str, path: str, target: str | int, *, follow: bool = False, archive: bool = False) -> int:
        """Copy out of a container to a local path, or as a tar to a descriptor; the bytes of the tar."""
        from wherry.engine.copy import copy_out

        return copy_out(self._engine, name, path, target, follow=follow, archive=archive)

    def copy_in(self, name: str, source: str | int, path: str, *, follow: bool = False, archive: bool = False) -> tuple[int, str]:
        """Copy a local path, or a tar from a descriptor, into a container; the bytes of the tar, and where it went."""
        from wherry.engine.copy import copy_in

        return copy_in(self._engine, name, source, path, follow=follow, archive=archive)

    def get_archive(self, name: str, path: str, fd: int) -> PathStat:
        """Write the tar of a path to a descriptor; what the path is."""
        from wherry.engine.copy import get_archive

        return get_archive(self._engine, name, path, fd)

    def put_archive(self, name: str, path: str, fd: int) -> None:
        """Unpack a tar, compressed or not, from a descriptor into a folder of a container."""
        from wherry.engine.copy import put_archive

        put_archive(self._engine, name, path, fd)

    def diff(self, name: str) -> builtins.list[Change]:
        """What a container changed in its file system."""
        from wherry.engine.diff import diff

        return diff(self._engine, name)

    def export(self, name: str, target: str | int) -> None:
        """Its file system as a tar, without volumes, to a file or a descriptor."""
        from wherry.engine.diff import export

        export(self._engine, name, target)

    def rename(self, name: str, new: str) -> None:
        from wherry.engine.lifecycle import rename

        rename(self._engine, name, new)

    def wait(self, name: str, condition: str = "") -> int:
        from wherry.engine.lifecycle import wait

        return wait(self._engine, name, condition)

    def healthcheck(self, name: str) -> bool:
        """Probe a container's health now; whether it went well. Raises NotFound, Conflict."""
        from wherry.engine.health import run

        return run(self._engine, name)

    def spec(self, request: CreateRequest) -> dict[str, Any]:
        """The OCI runtime spec of a container that is not made."""
        from wherry.engine.ocispec import of_request

        return of_request(self._engine, request)

    def spec_of(self, name: str) -> dict[str, Any]:
        from wherry.engine.ocispec import of_container

        return of_container(self._engine, name)

    def exists(self, name: str) -> bool:
        from wherry.errors import NotFound
        from wherry.store import containers

        try:
            containers.find(self._engine.store.db, name)
        except NotFound:
            return False
        return True

    def id_of(self, name: str) -> str:
        """The whole id of the container that `name` means. Raises NotFound, InvalidArgument."""
        from wherry.store import containers

        return containers.find(self._engine.store.db, name).id

    def inspect(self, name: str, size: bool = False) -> dict[str, Any]:
        from wherry.engine.inspect import inspect

        return inspect(self._engine, name, size=size)

    def ports(self, name: str) -> list[tuple[str, str]]:
        """Published ports: ("80/tcp", "0.0.0.0:8080"), in docker's order; none of a container that doesn't run."""
        from wherry.engine.network_view import port_lines
        from wherry.store import actual, containers

        row = containers.find(self._engine.store.db, name)
        return port_lines(self._engine.store, row) if actual.read(self._engine.store, row).alive else []

    def logs(
        self,
        name: str,
        *,
        follow: bool = False,
        since_ns: int | None = None,
        until_ns: int | None = None,
        tail: int = -1,
        timestamps: bool = False,
        details: bool = False,
    ) -> Iterator[tuple[str, bytes]]:
        """Pieces of the log as (stream, bytes). `tail` -1 is all. `details`: with the attributes that the log driver adds."""
        from wherry.engine.logs import logs

        return logs(
            self._engine, name, follow=follow, since_ns=since_ns, until_ns=until_ns, tail=tail, timestamps=timestamps, details=details
        )

    def prune(self, filters: dict[str, list[str]] | None = None) -> tuple[list[str], int]:
        """Remove all stopped containers; returns their ids and the bytes that came free."""
        from wherry.engine.lifecycle import prune

        self._engine.sweep_before_making_room()
        return prune(self._engine, filters or {})

    def cleanup(self, container_id: str) -> None:
        """Finish the end of a `--rm` container: what its monitor calls when no client is there to do it."""
        self._engine.sweep()

    def _many(self, names: list[str], act: Callable[[str], object]) -> Iterator[tuple[str, WherryError | None]]:
        from wherry.errors import WherryError

        for name in names:
            try:
                act(name)
            except WherryError as error:
                yield name, error
            else:
                yield name, None

    def list(
        self, *, all: bool = False, last: int = -1, filters: dict[str, list[str]] | None = None, size: bool = False
    ) -> list[ContainerSummary]:
        from wherry.engine.listing import listing

        self._engine.sweep()
        return listing(self._engine, all=all, last=last, filters=filters or {}, size=size)
