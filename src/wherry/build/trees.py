"""What the worker does with the tree of a container: what it changed, its tar, files into it and out of it.

A container that doesn't run is mounted in the job's own mount namespace, its volumes and binds with it. One that runs is reached by a
descriptor of its root (`join`): the process is in the container's user namespace then, and its own code still comes from the host.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from wherry.build import tarring
from wherry.build.rootfs import RootFs
from wherry.kernel import inroot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER, _PR_SET_DUMPABLE = 0x10000000, 4
_MOUNT_ATTR_RDONLY = 1
_SYS_MOUNT_SETATTR, _AT_EMPTY_PATH, _AT_RECURSIVE, _MS_BIND = 442, 0x1000, 0x8000, 0x1000

# The root of the running container that this process has joined, -1 for none.
_joined = -1


class Refused(Exception):
    """What a caller asked for can't be: `kind` tells the engine which error that is."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


def join(root: int, userns: int) -> None:
    """Become root of a container's user namespace (-1: it has none of its own). From here on jobs work in `root`."""
    global _joined
    _joined = root
    # Nobody in there may look into this process, which has descriptors of the host's files.
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if userns >= 0:
        if _libc.setns(userns, _CLONE_NEWUSER):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "its user namespace")
        try:
            os.setgroups([])
        except PermissionError:
            pass  # a user without subordinate ids keeps his groups
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def own_mounts() -> None:
    """A job that mounts something does so where nobody sees it; in a running container nothing is mounted."""
    if _joined < 0:
        inroot.unshare_mounts()


class _Attr(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clr", "propagation", "userns"))


class Tree(RootFs):
    """The root of a container. `job["lowers"]` topmost first; with `job["upper"]` it can be written to; `job["mounts"]` are hung in it."""

    def __init__(self, job: dict[str, Any], single: bool) -> None:
        self.read_only = bool(job.get("read_only"))
        if _joined >= 0:
            self.single, self.writable, self.upper_fd = single, True, -1
            self.fd = os.dup(_joined)
            return
        super().__init__(job["lowers"], job["mnt"], upper=job.get("upper", ""), work=job.get("work", ""), single=single)
        for source, part, target, read_only in job.get("mounts", ()):
            self._hang(source, part, target, read_only)

    def __enter__(self) -> Tree:
        return self

    def _hang(self, source: str, part: str, target: str, read_only: bool) -> None:
        """Mount a volume, a `part` of one or a bind where the container has it; what isn't there, or can't be mounted, is left out."""
        try:
            what = os.open(source, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if part:
                whole, what = what, inroot.openat2(what, part, os.O_PATH)
                os.close(whole)
            place = self._place(stat.S_ISDIR(os.fstat(what).st_mode), target)
            _libc.mount(f"/proc/self/fd/{what}".encode(), f"/proc/self/fd/{place}".encode(), None, _MS_BIND | inroot.MS_REC, None)
            os.close(place)
        finally:
            os.close(what)
        if read_only:
            fd = self.open(target, os.O_PATH)
            attr = _Attr(set=_MOUNT_ATTR_RDONLY)
            _libc.syscall(_SYS_MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, ctypes.byref(attr), ctypes.sizeof(attr))
            os.close(fd)

    def _place(self, folder: bool, target: str) -> int:
        """Where to mount: made if it isn't there yet, as the container's start would."""
        try:
            return self.open(target, os.O_PATH)
        except FileNotFoundError:
            if folder:
                return self.make_folders(target)
        head, name = os.path.split(target.rstrip("/"))
        parent = self.make_folders(head)
        try:
            return os.open(name, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=parent)
        finally:
            os.close(parent)

    def look(self, path: str) -> os.stat_result:
        """What lies at `path`, its last part not followed. Raises Refused."""
        try:
            fd = self.open(path.rstrip("/") or "/", os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            raise _refusal(error, path) from None
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def parent(self, path: str) -> tuple[int, str]:
        """A descriptor of the folder that holds `path`, every link on the way followed, and the name in it."""
        head, name = os.path.split(path.rstrip("/"))
        if name in ("", ".", ".."):
            fd = self.open(path, _FOLDER)
            return fd, "."
        try:
            return self.open(head or "/", _FOLDER), name
        except OSError as error:
            raise _refusal(error, path) from None


def _refusal(error: OSError, path: str) -> Refused:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Refused("missing", path)
    return Refused("failed", f"{path}: {os.strerror(error.errno or 0).lower()}")


# -- what a container changed ----------------------------------------------------------------------------------------------


def changes(job: dict[str, Any], single: bool) -> list[list[str]]:
    """[kind, path] of all that differs from the layers below, sorted: A added, C changed, D deleted."""
    found: dict[str, str] = {}
    with RootFs(job["lowers"], job["mnt"], single=single) as below:
        fd = os.open(job["upper"], _FOLDER)
        try:
            _compare(below, fd, "", job["stubs"], found)
        finally:
            os.close(fd)
    return [[found[path], path] for path in sorted(found)]


def _compare(below: RootFs, fd: int, path: str, stubs: list[str], found: dict[str, str]) -> None:
    opaque = _attribute(fd, "user.overlay.opaque")
    names = set(os.listdir(fd))
    if opaque == b"y":
        for name in _names_below(below, path):
            if name not in names:
                found[f"{path}/{name}"] = "D"
    for name in names:
        _compare_entry(below, fd, name, f"{path}/{name}", opaque == b"x", stubs, found)
    if path and any(other.startswith(path + "/") for other in found):
        found.setdefault(path, "C")


def _names_below(below: RootFs, path: str) -> list[str]:
    try:
        fd = below.open(path, _FOLDER | os.O_NOFOLLOW)
    except OSError:
        return []
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _compare_entry(below: RootFs, at: int, name: str, path: str, marked: bool, stubs: list[str], found: dict[str, str]) -> None:
    entry = os.stat(name, dir_fd=at, follow_symlinks=False)
    if _is_whiteout(at, name, entry, marked):
        found[path] = "D"
        return
    under = below.lookup(path, follow=False)
    if path in stubs and (entry.st_size == 0 or stat.S_ISDIR(entry.st_mode)):
        return
    if not stat.S_ISDIR(entry.st_mode):
        found[path] = "A" if under is None else "C"
        return
    if under is None:
        if not any(stub.startswith(path + "/") for stub in stubs):
            found[path] = "A"
    elif (under.st_mode, under.st_uid, under.st_gid) != (entry.st_mode, entry.st_uid, entry.st_gid):
        found[path] = "C"
    elif under.st_mtime_ns != entry.st_mtime_ns and not any(stub.startswith(path + "/") for stub in stubs):
        found[path] = "C"
    fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
    try:
        _compare(below, fd, path, stubs, found)
    finally:
        os.close(fd)


def _is_whiteout(at: int, name: str, entry: os.stat_result, marked: bool) -> bool:
    if stat.S_ISCHR(entry.st_mode):
        return entry.st_rdev == 0
    if not marked or not stat.S_ISREG(entry.st_mode):
        return False
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    try:
        return _attribute(fd, "user.overlay.whiteout") is not None
    finally:
        os.close(fd)


def _attribute(fd: int, name: str) -> bytes | None:
    try:
        return os.getxattr(fd, name)
    except OSError:
        return None


# -- tars ------------------------------------------------------------------------------------------------------------------


def whole(job: dict[str, Any], single: bool) -> None:
    """The tar of everything, to the job's descriptor."""
    with RootFs(job["lowers"], job["mnt"], single=single) as root:
        tarring.write(root.fd, job["fd"], exact=True)


def exact_layer(job: dict[str, Any], _single: bool) -> dict[str, Any]:
    """The digest and the recipe of a layer, fractions of seconds included."""
    packed = tarring.pack(job["tree"], job["recipe"], exact=True)
    return {"diff_id": packed.diff_id, "size": packed.size_bytes, "entries": packed.entries, "tar_bytes": packed.tar_bytes}


def described(job: dict[str, Any], single: bool) -> dict[str, Any]:
    """What lies at a path (docker's stat of a path): its last part as it is, and where a link leads."""
    with Tree(job, single) as root:
        return _described(root, job["path"])


def _described(root: Tree, path: str) -> dict[str, Any]:
    entry = root.look(path)
    if path.rstrip("/") != path and stat.S_ISLNK(entry.st_mode):
        fd = root.open(path, os.O_PATH)
        entry = os.fstat(fd)
        os.close(fd)
    target = ""
    if stat.S_ISLNK(entry.st_mode):
        target = _target(root, path.rstrip("/"))
    elif path.rstrip("/") != path and not stat.S_ISDIR(entry.st_mode):
        raise Refused("no folder", path)
    return {
        "name": os.path.basename(path.rstrip("/")) or "/",
        "mode": entry.st_mode,
        "size": entry.st_size,
        "mtime_ns": entry.st_mtime_ns,
        "target": target,
    }


def _target(root: Tree, path: str) -> str:
    """Where a link leads, as an absolute path of the container; it need not be there. Followed by hand, one link after the other."""
    for _ in range(40):
        parent, name = root.parent(path)
        try:
            there = os.readlink(name, dir_fd=parent)
        except OSError:
            return path
        finally:
            os.close(parent)
        path = os.path.normpath(os.path.join(os.path.dirname(path) or "/", there))
        path = "/" + path.lstrip("/")
    raise Refused("failed", f"{path}: too many levels of symbolic links")


def take_out(job: dict[str, Any], single: bool) -> dict[str, Any]:
    """Write the tar of a path to the job's descriptor; `shown` is its name in there, "" its content alone."""
    owner = (int(job["owner"][0]), int(job["owner"][1])) if job.get("owner") else None
    with Tree(job, single) as root:
        parent, name = root.parent(job["path"])
        try:
            packed = tarring.write_entry(parent, name, job["shown"], job["fd"], owner=owner)
        except FileNotFoundError:
            raise Refused("missing", job["path"]) from None
        finally:
            os.close(parent)
        return {"bytes": packed.tar_bytes}


def owner_of(job: dict[str, Any], single: bool) -> list[int]:
    """The ids of the user that the container runs as."""
    with Tree(job, single) as root:
        return list(root.owner(job["user"]))


def put_in(job: dict[str, Any], single: bool) -> dict[str, Any]:
    """Unpack the tar on the job's descriptor into the folder `path`. `single_name`: no folder may be replaced by that file."""
    from wherry.build import worker

    with Tree(job, single) as root:
        try:
            folder = root.open(job["path"], _FOLDER)
        except OSError as error:
            if error.errno == errno.ENOTDIR:
                raise Refused("no folder", job["path"]) from None
            raise _refusal(error, job["path"]) from None
        try:
            _check_writable(root, folder)
            _check_kinds(folder, job)
            return {"entries": worker.unpack_into(job["fd"], folder, single=single)}
        finally:
            os.close(folder)


def _check_writable(root: Tree, folder: int) -> None:
    same = _mount_id(root.fd) == _mount_id(folder)
    if same and root.read_only or os.fstatvfs(folder).f_flag & os.ST_RDONLY:
        raise Refused("read-only" if same else "read-only mount")


def _mount_id(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        return next((line.split()[1] for line in file if line.startswith("mnt_id:")), "")


def _check_kinds(folder: int, job: dict[str, Any]) -> None:
    name = job.get("name", "")
    if not name:
        return
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(there.st_mode) and not job["is_folder"]:
        raise Refused("folder there", name)
    if not stat.S_ISDIR(there.st_mode) and job["is_folder"] and not stat.S_ISLNK(there.st_mode):
        raise Refused("file there", name)


def _answered(act: Callable[[dict[str, Any], bool], Any]) -> Callable[[dict[str, Any], bool], Any]:
    def job(words: dict[str, Any], single: bool) -> dict[str, Any]:
        try:
            return {"found": act(words, single)}
        except Refused as error:
            return {"refused": error.kind, "text": error.text}

    return job


JOBS: dict[str, Callable[[dict[str, Any], bool], Any]] = {
    "tree-changes": _answered(changes),
    "tree-whole": _answered(whole),
    "tree-layer": _answered(exact_layer),
    "tree-look": _answered(described),
    "tree-out": _answered(take_out),
    "tree-owner": _answered(owner_of),
    "tree-in": _answered(put_in),
}
