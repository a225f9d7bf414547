"""The folders of RUN --mount=type=cache as things of their own: listed, written to a tar, filled from one."""

from __future__ import annotations

import fcntl
import os

from wherry.archive import streams
from wherry.build.workers import Worker
from wherry.engine.image_in import single
from wherry.errors import Conflict, NotFound
from wherry.model.record import Record
from wherry.store import steps, treeop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store


class CacheMount(Record):
    """`id` as in the Dockerfile (the target where none is given); `folders`: more than one where steps wanted their own."""

    id: str
    folders: tuple[str, ...]
    created_ns: int
    used_ns: int


def everything(store: Store) -> list[CacheMount]:
    found: dict[str, CacheMount] = {}
    for number, name, created_ns, used_ns in store.db.rows("SELECT id, name, created_ns, used_ns FROM build_mounts ORDER BY name, id"):
        shown = str(name).partition("\0")[0]
        path = store.path("mounts", str(number))
        known = found.get(str(name), CacheMount(shown, (), int(created_ns), 0))
        found[str(name)] = known.replace(folders=(*known.folders, path), used_ns=max(known.used_ns, int(used_ns)))
    return list(found.values())


def export(store: Store, name: str, fd: int) -> None:
    """Write what is in a cache mount as a tar; waits for steps that use it. Raises NotFound."""
    folders = steps.mount_folders(store, name)
    if not folders:
        known = ", ".join(sorted({mount.id for mount in everything(store)}))
        raise NotFound(f"no cache mount {name!r}", hint=f"there are: {known}" if known else "no build made one yet")
    with _Locked(folders[0], wait=True), Worker() as worker:
        scratch = store.staging("export")
        os.makedirs(scratch + "/mnt", 0o755)
        try:
            worker.do({"do": "export", "folder": scratch, "lowers": [folders[0]]}, fd)
        finally:
            os.rmdir(scratch + "/mnt")
            os.rmdir(scratch)
    steps.touch_mount(store, folders[0])


def import_(store: Store, name: str, fd: int) -> None:
    """Fill a cache mount with what a tar holds. Raises ArchiveError, Conflict."""
    staged = store.staging("mount")
    os.mkdir(staged, 0o755)
    try:
        stream = streams.plain(streams.FdReader(fd))
        treeop.unpack(staged, lambda pipe: streams.copy_to_fd(stream, pipe), single=single(), literal=True)
        folders = steps.mount_folders(store, name)
        target = folders[0] if folders else steps.new_mount_folder(store, name)
        with _Locked(target, wait=False), Worker() as worker:
            aside = store.staging("mount")
            _rename(worker, target, aside)
            _rename(worker, staged, target)
            treeop.remove_trees([aside])
        steps.touch_mount(store, target)
    except BaseException:
        if os.path.lexists(staged):
            treeop.remove_trees([staged])
        raise


def _rename(worker: Worker, old: str, new: str) -> None:
    """A cache's folder may belong to an id that the user isn't."""
    try:
        os.rename(old, new)
    except PermissionError:
        worker.do({"do": "rename", "from": old, "to": new})


class _Locked:
    """A cache's folder for oneself, as a step with sharing=locked has it."""

    def __init__(self, folder: str, *, wait: bool) -> None:
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(self._fd)
            raise Conflict("a build uses this cache", hint="import it when the build has ended") from None

    def __enter__(self) -> _Locked:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)
