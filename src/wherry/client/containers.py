"""`Engine.containers`: making containers and finding them."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Unpack, overload

from wherry.client import options as given
from wherry.client.container import Container
from wherry.client.options import ContainerOptions, Words
from wherry.errors import ContainerError
from wherry.model.record import Record

if TYPE_CHECKING:
    from wherry.engine import Engine
    from wherry.engine.stream import Stream

Filters = Mapping[str, str | Sequence[str]]


class Output(bytes):
    """What a container wrote, as `run` returns it: the bytes themselves, and beside them where they came from."""

    container_id: str
    exit_code: int
    stdout: bytes
    stderr: bytes


class Pruned(Record):
    """What a `prune` removed, and the bytes that came free."""

    removed: tuple[str, ...]
    reclaimed_bytes: int


class Containers:
    """The containers of a store. Names are docker's: a name, an id, or the unique beginning of one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @overload
    def run(
        self,
        image: str,
        command: Words | None = None,
        *,
        detach: Literal[True],
        remove: bool = False,
        **options: Unpack[ContainerOptions],
    ) -> Container: ...

    @overload
    def run(
        self,
        image: str,
        command: Words | None = None,
        *,
        detach: Literal[False] = False,
        remove: bool = False,
        stdout: bool = True,
        stderr: bool = False,
        input: bytes | None = None,
        check: bool = True,
        **options: Unpack[ContainerOptions],
    ) -> Output: ...

    def run(
        self,
        image: str,
        command: Words | None = None,
        *,
        detach: bool = False,
        remove: bool = False,
        stdout: bool = True,
        stderr: bool = False,
        input: bytes | None = None,
        check: bool = True,
        **options: Unpack[ContainerOptions],
    ) -> Output | Container:
        """Create and start a container; wait for its end and return what it wrote, or with `detach` return it as it runs.

        `stdout` and `stderr` choose what is returned (both are attributes of it in any case), `input` is the container's standard
        input. `remove` removes the container at its end. A string is split into words as a shell would.
        Raises ContainerError when it ends with another code than 0 (unless `check` is False), LaunchError when its program can't be
        executed, NotFound (image), Conflict (name), InvalidArgument, Unsupported.
        """
        if remove:
            options["auto_remove"] = True
        if detach:
            return Container(self._engine, self._engine.containers.run(given.request(image, command, options), detach=True).id)
        if input is not None:
            options["stdin_open"] = True
        with self._engine.containers.run_stream(given.request(image, command, options)) as stream:
            out, err = stream.communicate(input)
            code = stream.exit_code or 0
        if check and code:
            raise ContainerError(stream.id, code, out, err)
        output = Output((out if stdout else b"") + (err if stderr else b""))
        output.container_id, output.exit_code, output.stdout, output.stderr = stream.id, code, out, err
        return output

    def run_stream(self, image: str, command: Words | None = None, **options: Unpack[ContainerOptions]) -> Stream:
        """Create and start a container, and read and write its streams while it runs. Raises what `run` raises, but ContainerError."""
        return self._engine.containers.run_stream(given.request(image, command, options))

    def create(self, image: str, command: Words | None = None, **options: Unpack[ContainerOptions]) -> Container:
        """A new container that does not run yet. Raises NotFound (image), Conflict (name), InvalidArgument, Unsupported."""
        return Container(self._engine, self._engine.containers.create(given.request(image, command, options)).id)

    def get(self, name: str) -> Container:
        """The container of that name or id. Raises NotFound, InvalidArgument (several ids begin so)."""
        return Container(self._engine, self._engine.containers.id_of(name))

    def list(self, *, all: bool = False, limit: int = -1, filters: Filters | None = None) -> builtins.list[Container]:
        """Those that run, or `all`, the newest first; `limit`: only so many of all. `filters` as `ps` takes them. Raises InvalidArgument."""
        found = self._engine.containers.list(all=all, last=limit, filters=lists(filters))
        return [Container(self._engine, summary.id) for summary in found]

    def prune(self, *, filters: Filters | None = None) -> Pruned:
        """Remove all that don't run. `filters`: until, label, label!. Raises InvalidArgument."""
        ids, size = self._engine.containers.prune(lists(filters))
        return Pruned(tuple(ids), size)


def lists(filters: Filters | None) -> dict[str, builtins.list[str]]:
    """Filters with a list of values each."""
    return {key: [value] if isinstance(value, str) else [str(v) for v in value] for key, value in (filters or {}).items()}
