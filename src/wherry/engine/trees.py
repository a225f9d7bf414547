"""The tree of a container, from the engine's side: which trees it is made of, and somebody who works on them.

The work is the builder's worker's (build/trees.py): root of the user's namespace R for a container that doesn't run, in the container's
own user namespace for one that does.
"""

from __future__ import annotations

import errno
import os
import shutil

from wherry.build.workers import Worker
from wherry.errors import BuildError, Conflict, HostError, InvalidArgument, NotFound, StoreError, StoreFull, WherryError
from wherry.model.record import Record
from wherry.store import actual

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from wherry.engine import Engine
    from wherry.store import Store
    from wherry.store.actual import Actual
    from wherry.store.containers import ContainerRow

# Mount points that every container gets; docker has them in a layer that nobody sees.
STUBS = (
    "/dev",
    "/dev/console",
    "/dev/pts",
    "/dev/shm",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/proc",
    "/run/.containerenv",
    "/sys",
)
_ALIVE = ("running", "paused", "restarting")


class Trees(Record):
    """`lowers` are the image's trees, topmost first; `upper` is what the container wrote."""

    lowers: tuple[str, ...]
    upper: str
    work: str

    @property
    def all(self) -> list[str]:
        return [self.upper, *self.lowers]


def of(store: Store, row: ContainerRow) -> Trees:
    folder = store.path("containers", row.id, "over")
    lowers = tuple(store.path("layers", str(n)) for n in dict.fromkeys(row.layer_numbers()))
    return Trees(lowers, folder + "/upper", folder + "/work")


def stubs(row: ContainerRow) -> list[str]:
    """Places that the engine made for its own mounts."""
    return list(STUBS)


class Workshop:
    """A worker and a folder in staging/ for its mounts. A context manager.

    `running`: the process of the container that is to be worked in.
    """

    def __init__(self, store: Store, running: int = 0) -> None:
        self._store = store
        self._worker = Worker(running)
        self._folder = ""

    def __enter__(self) -> Workshop:
        self._folder = self._store.staging("trees")
        os.mkdir(self._folder, 0o700)
        os.mkdir(self._folder + "/mnt")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._worker.__exit__(kind, error, trace)
        shutil.rmtree(self._folder, ignore_errors=True)

    def plain(self, what: str, **words: Any) -> Any:
        """A job of the builder's own. Raises StoreError."""
        try:
            return self._worker.do({"do": what, "mnt": self._folder + "/mnt", **words})
        except BuildError as error:
            raise StoreError(error.message, hint=error.hint) from None

    def do(self, what: str, fd: int = -1, **words: Any) -> Any:
        """Have a job done. Raises NotFound and the rest of what `refusal` makes of a refusal."""
        try:
            answer = self._worker.do({"do": what, "mnt": self._folder + "/mnt", **words}, fd)
        except BuildError as error:
            if error.message == os.strerror(errno.EPIPE).lower():
                raise BrokenPipeError(errno.EPIPE, "nobody reads what is written") from None
            raise StoreError(error.message, hint=error.hint) from None
        if "refused" in answer:
            raise Refusal(answer["refused"], answer["text"])
        return answer["found"]


class Refusal(Exception):
    """A job's answer that its caller puts into words."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text

    def error(self, row: ContainerRow) -> WherryError:
        """The error for the user: docker's words where docker has some."""
        if self.kind == "missing":
            return NotFound(f"Could not find the file {self.text} in container {row.name}")
        if self.kind == "no folder":
            return InvalidArgument(f"extraction point is not a directory: {self.text}")
        if self.kind == "read-only":
            return Conflict("container rootfs is marked read-only")
        if self.kind == "read-only mount":
            return Conflict("mounted volume is marked read-only")
        if self.kind == "folder there":
            return Conflict(f'cannot overwrite directory "{self.text}" with non-directory')
        if self.kind == "file there":
            return Conflict(f'cannot overwrite non-directory "{self.text}" with directory')
        return StoreError(self.text)


def alive(state: Actual) -> bool:
    return state.status in _ALIVE and bool(state.pid)


def state_of(engine: Engine, row: ContainerRow) -> Actual:
    return actual.read(engine.store, row)


__all__ = ["HostError", "STUBS", "Refusal", "StoreFull", "Trees", "Workshop", "alive", "of", "state_of", "stubs"]
