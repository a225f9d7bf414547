"""Files into a container and out of it. docker's rules: cli/command/container/cp.go, moby/pkg/archive/copy.go.

A container that runs is worked on as it sees itself, volumes and tmpfs included. One that doesn't is mounted as it would be, without tmpfs.
"""

from __future__ import annotations

import os
import stat
import threading

from wherry.engine import modes, trees
from wherry.errors import Conflict, InvalidArgument, NotFound, WherryError
from wherry.kernel import process
from wherry.model.record import Record
from wherry.store import containers, treeop
from wherry.store.locks import FolderLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from wherry.engine import Engine
    from wherry.store.containers import ContainerRow


class CopyError(WherryError):
    """The words of docker's client, not its daemon's."""

    daemon = False


class PathStat(Record):
    """docker's stat of a path. `mode` is st_mode. `target`: where a link leads, an absolute path of the container."""

    name: str
    mode: int
    size: int
    mtime_ns: int
    target: str

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


class Inside:
    """The file system of a container, open for one errand. A context manager.

    Raises NotFound; Conflict when the container is about to be started again.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.row: ContainerRow = containers.find(engine.store.db, name)
        self._record = self.row.record()
        self._lock: FolderLock | None = None
        self._words: dict[str, Any] = {}

    def __enter__(self) -> Inside:
        store = self._engine.store
        state = trees.state_of(self._engine, self.row)
        running = state.pid if trees.alive(state) and process.alive(state.pid, state.pid_start) else 0
        if not running:
            self._lock = FolderLock(store.path("containers", self.row.id), f"container: {self.row.name}")
            self._lock.__enter__()
            try:
                self._words = self._still()
            except BaseException:
                self._lock.__exit__(None, None, None)
                raise
        self._workshop = trees.Workshop(store, running)
        self._workshop.__enter__()
        return self

    def _still(self) -> dict[str, Any]:
        state = trees.state_of(self._engine, self.row)
        if state.alive:
            raise Conflict(f"container {self.row.id} is being started", hint="try again in a moment")
        its = trees.of(self._engine.store, self.row)
        return {
            "lowers": list(its.lowers),
            "upper": its.upper,
            "work": its.work,
            "mounts": self._mounts(),
            "read_only": bool(self._record["HostConfig"].get("ReadonlyRootfs")),
        }

    def _mounts(self) -> list[tuple[str, str, str, bool]]:
        """[source, part of it, target, read-only] of volumes and binds; what only a start can mount is left out."""
        specs = modes.mount_specs(self._record)
        if any(m.type in ("volume", "image") for m in specs):
            from wherry.engine import volume_launch

            specs = volume_launch.located(self._engine, self.row.id, specs)
        found = [
            (m.source, m.subpath, m.target, m.read_only)
            for m in specs
            if m.type in ("bind", "volume", "image") and not m.holder and not m.overlay and "\n" not in m.source
        ]
        return sorted(found, key=lambda mount: mount[2].count("/"))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._workshop.__exit__(kind, error, trace)
        if self._lock is not None:
            self._lock.__exit__(kind, error, trace)

    def do(self, what: str, fd: int = -1, **words: Any) -> Any:
        try:
            return self._workshop.do(what, fd, **self._words, **words)
        except trees.Refusal as refusal:
            raise refusal.error(self.row) from None

    def look(self, path: str) -> PathStat:
        return PathStat(**self.do("tree-look", path=path))

    def take(self, path: str, shown: str, fd: int, owner: tuple[int, int] | None = None) -> int:
        """Write the tar of `path` to a descriptor; the bytes it had."""
        return int(self.do("tree-out", fd, path=path, shown=shown, owner=owner)["bytes"])

    def put(self, folder: str, fd: int, name: str = "", is_folder: bool = False) -> None:
        """Unpack a tar from a descriptor into a folder. `name`, if the tar is of one thing: what it is called."""
        self.do("tree-in", fd, path=folder, name=name, is_folder=is_folder)

    def user(self) -> tuple[int, int]:
        uid, gid = self.do("tree-owner", user=self._record["Config"].get("User") or "0:0")
        return int(uid), int(gid)


def absolute(path: str) -> str:
    """A path of a container; what ends it (a slash, a dot) says something and is kept."""
    clean = os.path.normpath("/" + path.lstrip("/"))
    clean = "/" + clean.lstrip("/")
    if path.endswith("/.") or path == ".":
        return clean.rstrip("/") + "/."
    return clean.rstrip("/") + "/" if path.endswith("/") else clean


def get_archive(engine: Engine, name: str, path: str, fd: int) -> PathStat:
    """docker's GET archive: the tar of a path to a descriptor, its top named as the path's last part. Raises NotFound."""
    with Inside(engine, name) as inside:
        where = absolute(path)
        found = inside.look(where)
        inside.take(*_source(where, found, follow=False), fd)
        return found


def _source(path: str, found: PathStat, *, follow: bool) -> tuple[str, str]:
    """(path to read, name to give) for what was asked for: `/.` is the content, a slash behind a link its target."""
    if path.endswith("/."):
        return path, ""
    shown = os.path.basename(path.rstrip("/"))
    if path.endswith("/"):
        return path + ".", shown
    return (found.target if found.target and follow else path), shown


def put_archive(engine: Engine, name: str, path: str, fd: int) -> None:
    """docker's PUT archive: unpack a tar, compressed or not, into a folder of a container. Raises NotFound, InvalidArgument, Conflict."""
    with Inside(engine, name) as inside:
        found = inside.look(absolute(path))
        _put_stream(inside, found.target or absolute(path), fd)


def _put_stream(inside: Inside, folder: str, fd: int) -> None:
    """A tar of the caller's, decompressed here: who works in the container has no more than it needs."""
    from wherry.archive import streams

    stream = streams.plain(streams.FdReader(fd))

    def pour(writer: int) -> int:
        streams.copy_to_fd(stream, writer)
        return 0

    _through(inside, folder, "", False, pour)


# -- `cp` ------------------------------------------------------------------------------------------------------------------


def copy_out(engine: Engine, name: str, path: str, target: str | int, *, follow: bool = False, archive: bool = False) -> int:
    """Copy `path` of a container to a local path, or as a tar to a descriptor. Returns the bytes of the tar.

    Raises NotFound, CopyError (the local side), ArchiveError.
    """
    where = absolute(path)
    if isinstance(target, str):
        _check_target(target)
    with Inside(engine, name) as inside:
        found = inside.look(where)
        source, shown = _source(where, found, follow=follow)
        if source != where.rstrip("/") and found.target and source == found.target:
            found = inside.look(source)
        if isinstance(target, int):
            return inside.take(source, shown, target)
        folder, shown = _local_place(target, shown, found.is_folder)
        owner = None if archive and os.geteuid() == 0 else (os.geteuid(), os.getegid())
        size = 0

        def feed(fd: int) -> None:
            nonlocal size
            size = inside.take(source, shown, fd, owner)

        treeop.unpack(folder, feed, single=False, literal=True, inside=False)
        return size


def _check_target(target: str) -> None:
    folder = os.path.dirname(os.path.abspath(target.rstrip("/") or "/"))
    if not os.path.exists(folder):
        raise CopyError(f'invalid output path: directory "{folder}" does not exist')
    if os.path.exists(target) and not (os.path.isdir(target) or os.path.isfile(target)):
        raise CopyError(f'invalid output path: "{target}" must be a directory or a regular file')


def _local_place(target: str, shown: str, is_folder: bool) -> tuple[str, str]:
    """(folder, name in it) for a copy to `target`. A copy of a folder's content into one that isn't there makes it."""
    there = os.path.realpath(target)
    slash = target.endswith(("/", "/."))
    if os.path.isdir(there):
        inner = os.path.join(there, shown)
        if shown and os.path.lexists(inner) and os.path.isdir(inner) != is_folder and not os.path.islink(inner):
            what = "directory with non-directory" if os.path.isdir(inner) else "non-directory with directory"
            raise CopyError(f"cannot overwrite {what}: {inner}")
        return there, shown
    if os.path.exists(there) and (is_folder or slash):
        raise CopyError("cannot copy directory" if is_folder else f"{target}: not a directory")
    if not is_folder and slash:
        raise CopyError("no such directory")
    if not shown:
        os.mkdir(there)
        return there, ""
    return os.path.dirname(there), os.path.basename(there)


def copy_in(engine: Engine, name: str, source: str | int, path: str, *, follow: bool = False, archive: bool = False) -> tuple[int, str]:
    """Copy a local path, or a tar from a descriptor, to `path` of a container. Returns (bytes of the tar, where it went).

    Raises NotFound, CopyError (the local side), Conflict (read-only).
    """
    where = absolute(path)
    with Inside(engine, name) as inside:
        there, where = _destination(inside, where)
        if isinstance(source, int):
            if there is None or not there.is_folder:
                raise CopyError(f'destination "{name}:{path}" must be a directory')
            _put_stream(inside, where, source)
            return 0, where
        local = _Local(source, follow)
        try:
            folder, shown = _place(where, there, local)
            owner = inside.user() if archive else None if os.geteuid() == 0 else (0, 0)
            return _pour(inside, local, folder, shown, owner), where
        finally:
            local.close()


def _destination(inside: Inside, where: str) -> tuple[PathStat | None, str]:
    """What lies there, links followed."""
    try:
        found = inside.look(where)
        if found.target:
            where = found.target
            found = inside.look(where)
    except NotFound:
        return None, where
    if not found.is_folder and not stat.S_ISREG(found.mode):
        raise CopyError(f'destination "{where}" must be a directory or a regular file')
    return found, where


class _Local:
    """The local side of a copy into a container: an open folder and a name in it."""

    def __init__(self, source: str, follow: bool) -> None:
        self.content = source.endswith("/.") or source in (".", "..")
        plain = source[:-2] or "/" if source.endswith("/.") else source.rstrip("/") or "/"
        self.shown = os.path.basename(os.path.abspath(plain))
        into = follow or self.content or source.endswith("/")
        path = os.path.realpath(plain) if into else os.path.join(os.path.realpath(os.path.dirname(plain) or "."), os.path.basename(plain))
        head, self.name = os.path.split(path)
        try:
            self.fd = os.open(head or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self.is_folder = stat.S_ISDIR(os.stat(self.name or ".", dir_fd=self.fd, follow_symlinks=False).st_mode)
            except OSError:
                os.close(self.fd)
                raise
        except OSError as error:
            raise CopyError(f"lstat {os.path.abspath(plain)}: {os.strerror(error.errno or 0).lower()}") from None
        self.name = self.name or "."
        if not self.is_folder and (self.content or source.endswith("/")):
            os.close(self.fd)
            raise CopyError(f"{source}: not a directory")

    def close(self) -> None:
        os.close(self.fd)


def _place(where: str, there: PathStat | None, local: _Local) -> tuple[str, str]:
    """(folder of the container, name in it)"""
    if there is not None and there.is_folder:
        return where, "" if local.content or local.name == "." else local.shown
    if there is not None and local.is_folder:
        raise CopyError("cannot copy directory")
    if there is None and not local.is_folder and where.endswith(("/", "/.")):
        raise CopyError("no such directory")
    head, shown = os.path.split(where.removesuffix("/.").rstrip("/"))
    return head or "/", shown


def _pour(inside: Inside, local: _Local, folder: str, shown: str, owner: tuple[int, int] | None) -> int:
    from wherry.build import tarring

    def pour(writer: int) -> int:
        try:
            return tarring.write_entry(local.fd, local.name, shown, writer, owner=owner).tar_bytes
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CopyError(f"{error.filename or local.shown}: {os.strerror(error.errno or 0).lower()}") from None

    return _through(inside, folder, shown, local.is_folder, pour)


def _through(inside: Inside, folder: str, shown: str, is_folder: bool, pour: Callable[[int], int]) -> int:
    """Write a tar into a pipe while the container's side reads it. What `pour` raises counts for more than what the reader makes of it."""
    reader, writer = os.pipe()
    failure: list[BaseException] = []
    size = 0

    def write() -> None:
        nonlocal size
        try:
            size = pour(writer)
        except BrokenPipeError:
            return
        except BaseException as error:
            failure.append(error)
        finally:
            os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        inside.put(folder, reader, shown, is_folder)
    except WherryError:
        if not failure:
            raise
    finally:
        os.close(reader)
        thread.join()
    if failure:
        raise failure[0]
    return size


__all__ = ["CopyError", "InvalidArgument", "PathStat", "copy_in", "copy_out", "get_archive", "put_archive"]
