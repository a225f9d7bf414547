"""Containers held still for a moment, so that a copy of their files is of one instant. They go on whatever becomes of us: a child of ours
waits for our end and lets them go on when we were killed."""

from __future__ import annotations

import os

from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from wherry.engine import Engine


class frozen:
    """`with frozen(engine, ids):` — those that run are paused inside. Where that can't be had, a warning says so."""

    def __init__(self, engine: Engine, ids: list[str]) -> None:
        self._engine = engine
        self._ids = ids
        self._frozen: list[str] = []
        self._guard = self._pipe = 0

    def __enter__(self) -> frozen:
        from wherry.engine.pausing import pause

        if self._ids:
            self._start_guard()
        for container_id in self._ids:
            try:
                pause(self._engine, container_id)
                self._frozen.append(container_id)
            except WherryError as error:
                self._engine.warn(f"container {container_id[:12]} goes on writing meanwhile: {error.message}")
        if self._frozen:
            self._engine.warn(f"frozen for the copy: {', '.join(i[:12] for i in self._frozen)}")
        return self

    def _start_guard(self) -> None:
        reader, self._pipe = os.pipe()
        self._guard = os.fork()
        if self._guard:
            os.close(reader)
            return
        try:
            os.close(self._pipe)
            if not os.read(reader, 1):
                _let_go(self._engine, self._ids)
        finally:
            os._exit(0)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        from wherry.engine.pausing import unpause

        for container_id in self._frozen:
            try:
                unpause(self._engine, container_id)
            except WherryError:
                continue  # it has ended, or somebody was quicker
        if self._guard:
            os.write(self._pipe, b".")
            os.close(self._pipe)
            os.waitpid(self._guard, 0)


def _let_go(engine: Engine, ids: list[str]) -> None:
    """In the child, when its parent was killed. A connection to a database doesn't survive a fork: the store is opened anew."""
    from wherry.engine import Engine as Fresh
    from wherry.engine.pausing import unpause

    fresh = Fresh(engine.store.root, engine.store.run)
    for container_id in ids:
        try:
            unpause(fresh, container_id)
        except WherryError:
            continue
