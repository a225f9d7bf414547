"""The builder's second half: a process that is root of the user's namespace R and works on the trees of layers.

It is started once a build and forks for each job. A job comes as one JSON object on a socket of its own, and so does its answer:
{"ok": …} or {"error": text}. Each child has its own mount namespace: what it mounts is gone with it.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat

from wherry.build import sources, tarring, trees
from wherry.build.chmod import Mode
from wherry.build.copying import Copier, CopyError, Source
from wherry.build.ignore import Ignore
from wherry.build.merging import Merger, settle_times
from wherry.build.rootfs import RootFs
from wherry.kernel import inroot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def main_joined(control: int, root: int, userns: int, program: int, uid_mapped: bool) -> None:
    """As `main`, for a container that runs: `root` is its root, `userns` its user namespace (-1: it has none of its own)."""
    # The files of this machine may be closed to who we become: what is needed is loaded now, the native program is an open file.
    import codecs
    import fcntl
    import hashlib
    import shutil
    import signal
    import traceback

    from wherry.archive import compress, streams
    from wherry.store import treeop

    for name in ("ascii", "latin-1", "idna"):
        codecs.lookup(name)
    del fcntl, hashlib, shutil, signal, traceback, compress, streams, treeop
    os.environ["WHERRY_NATIVE"] = f"/proc/self/fd/{program}"
    trees.join(root, userns)
    main(control, uid_mapped)


def main(control: int, uid_mapped: bool) -> None:
    """Serve until the builder closes its end of `control`."""
    import signal

    # Its children are nobody's to wait for; ctrl-C is the builder's to handle.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0)
    with socket.socket(fileno=control) as stream:
        while True:
            data, fds, _flags, _address = socket.recv_fds(stream, 1, 2)
            if not data or not fds:
                os._exit(0)
            if os.fork() == 0:
                stream.close()
                _serve(fds, single=not uid_mapped)
            for fd in fds:
                os.close(fd)


def _serve(fds: list[int], *, single: bool) -> None:
    import signal

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        with socket.socket(fileno=fds[0]) as stream:
            job = {**json.loads(_received(stream)), "fd": fds[-1]}
            stream.sendall(json.dumps(_answer(job, single)).encode())
        code = 0
    finally:
        os._exit(code)


def _received(stream: socket.socket) -> bytes:
    parts = []
    while part := stream.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def _answer(job: dict[str, Any], single: bool) -> dict[str, Any]:
    try:
        if job["do"] in trees.JOBS:
            trees.own_mounts()
            return {"ok": trees.JOBS[job["do"]](job, single)}
        inroot.unshare_mounts()
        return {"ok": _JOBS[job["do"]](job, single)}
    except (CopyError, ValueError) as error:
        return {"error": str(error)}
    except OSError as error:
        name = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return {"error": f"{name}{(error.strerror or os.strerror(error.errno or 0)).lower()}", "errno": error.errno}
    except Exception as error:
        import traceback

        return {"error": f"internal error: {type(error).__name__}: {error}", "trace": traceback.format_exc()}


# -- jobs ------------------------------------------------------------------------------------------------------------------


def _layer(job: dict[str, Any], single: bool) -> dict[str, Any]:
    """Make a layer: mount what lies below with an empty upper folder, and work in it."""
    folder = job["folder"]
    made = {"entries": 0, "bytes": 0, "latest_ns": 0}
    upper = folder + "/over/upper"
    if job["lowers"]:
        _same_root({"like": job["lowers"][0], "path": upper}, single)
    with RootFs(job["lowers"], folder + "/mnt", upper=upper, work=folder + "/over/work", single=single) as root:
        for number, action in enumerate(job["actions"]):
            _ACTIONS[action["do"]](root, action, made, f"{folder}/from{number}")
    _leave_upper(folder)
    if job.get("epoch_ns", -1) >= 0:
        settle_times(upper, job["epoch_ns"])
    return made


def _copy_into(job: dict[str, Any], single: bool) -> dict[str, Any]:
    """Work in the root of a container that has its own upper folder already."""
    made = {"entries": 0, "bytes": 0, "latest_ns": 0}
    with RootFs(job["lowers"], job["mnt"], upper=job["upper"], work=job["work"], single=single) as root:
        for number, action in enumerate(job["actions"]):
            _ACTIONS[action["do"]](root, action, made, f"{job['folder']}/from{number}")
    return made


def _same_root(job: dict[str, Any], single: bool) -> None:
    """A new upper folder looks like the root below it: what is seen of a merged root is its upper folder's attributes."""
    fd, like = os.open(job["path"], _FOLDER), os.open(job["like"], _FOLDER)
    try:
        found = os.fstat(like)
        if not single:
            os.fchown(fd, found.st_uid, found.st_gid)
        os.fchmod(fd, stat.S_IMODE(found.st_mode))
    finally:
        os.close(fd)
        os.close(like)


def _leave_upper(folder: str) -> None:
    """Remove all but the new layer: the builder may be an ordinary user, who can't."""
    import shutil

    inroot.unmount(folder + "/mnt")
    for name in os.listdir(folder):
        if name != "over":
            shutil.rmtree(f"{folder}/{name}", ignore_errors=True)
    shutil.rmtree(folder + "/over/work", ignore_errors=True)


def _workdir(root: RootFs, action: dict[str, Any], _made: dict[str, int], _mount: str) -> None:
    try:
        owner = root.owner(action["user"]) if action["user"] else None
    except ValueError:
        # A USER that nobody has yet is no error before something runs as it.
        owner = None
    os.close(root.make_folders(action["path"], owner))


def _copy(root: RootFs, action: dict[str, Any], made: dict[str, int], mount: str) -> None:
    owner = _owner(root, action, mount) if action["chown"] else None
    mode = Mode(action["chmod"]) if action["chmod"] else None
    copier = Copier(root, owner=owner, mode=mode, epoch_ns=action.get("epoch_ns", -1))
    for name, content in action["files"]:
        copier.put(name, content.encode("utf-8", "surrogateescape"), action["destination"])
    if "context" in action:
        _from_context(root, copier, action)
    elif action["sources"]:
        _from_tree(root, copier, action, mount)
    for key in ("entries", "bytes"):
        made[key] += getattr(copier, key)
    made["latest_ns"] = max(made["latest_ns"], copier.latest_ns)


def _owner(root: RootFs, action: dict[str, Any], mount: str) -> tuple[int, int]:
    """With --link the new layer is alone; names are looked up in what will lie below it."""
    if not action["users"]:
        return root.owner(action["chown"])
    os.makedirs(mount + "-users", exist_ok=True)
    with RootFs(action["users"], mount + "-users", single=root.single) as other:
        return other.owner(action["chown"])


def _from_context(root: RootFs, copier: Copier, action: dict[str, Any]) -> None:
    """Sources that the builder has listed: [path, name it goes by, listing, destination, unpack, keep its own attributes]."""
    base = os.open(action["context"], _FOLDER)
    try:
        for path, shown, listing, destination, unpack, whole in action["sources"]:
            folder, name = os.path.split(path)
            parent = inroot.openat2(base, folder, _FOLDER, resolve=inroot.RESOLVE_IN_ROOT | inroot.RESOLVE_NO_SYMLINKS)
            try:
                if unpack:
                    _unpack(copier, parent, name, destination, single=root.single)
                else:
                    _one(copier, Source(parent, name or ".", shown, _listed(listing), keep_owners=False), destination, whole)
            finally:
                os.close(parent)
    finally:
        os.close(base)


def _listed(listing: dict[str, Any]) -> Callable[[str, int], list[str]]:
    def names(path: str, _fd: int) -> list[str]:
        at: Any = listing
        for part in path.split("/") if path else ():
            at = at.get(part) or {}
        return list(at)

    return names


def _one(copier: Copier, source: Source, destination: str, whole: bool) -> None:
    if whole:
        copier.copy_whole(source, destination)
    else:
        copier.copy(source, destination)


def _from_tree(root: RootFs, copier: Copier, action: dict[str, Any], mount: str) -> None:
    exclude = Ignore(action["exclude"]) if action["exclude"] else None
    os.makedirs(mount, exist_ok=True)
    with RootFs(action["lowers"], mount, single=root.single) as other:
        for pattern in action["sources"]:
            pivot, pattern = _pivot(pattern) if action["parents"] else ("", pattern)
            for path in sources.matches(other, pattern):
                with sources.Found(other, path, path) as found:
                    if not action["parents"]:
                        copier.copy(found.source(path, exclude), action["destination"])
                        continue
                    inner = path[len(pivot) :].lstrip("/") if pivot and path.startswith(pivot + "/") else path
                    copier.parents(other, path[: len(path) - len(inner)], inner, action["destination"])
                    copier.copy_whole(found.source(path, exclude), f"{action['destination'].rstrip('/')}/{inner}")


def _pivot(pattern: str) -> tuple[str, str]:
    """What stands before /./ is not kept by --parents."""
    head, mark, tail = pattern.partition("/./")
    return (head.strip("/"), f"{head}/{tail}") if mark else ("", pattern)


def _unpack(copier: Copier, parent: int, name: str, destination: str, *, single: bool) -> None:
    """ADD of an archive: the native unpacker works in the destination as if that were its root."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        folder = copier.folder_at(destination)
        try:
            copier.latest_ns = max(copier.latest_ns, os.fstat(fd).st_ctime_ns)
            copier.entries += unpack_into(fd, folder, single=single)
        finally:
            os.close(folder)
    finally:
        os.close(fd)


def unpack_into(fd: int, folder: int, *, single: bool) -> int:
    """Unpack an archive, compressed or not, into an open folder; how many entries it had. Raises CopyError."""
    from wherry.archive import streams
    from wherry.errors import WherryError
    from wherry.store import treeop

    stream = streams.plain(streams.FdReader(fd))
    try:
        # The unpacker is a process of its own: it inherits the folder.
        path = f"/proc/self/fd/{folder}"
        os.set_inheritable(folder, True)
        return treeop.unpack(path, lambda pipe: streams.copy_to_fd(stream, pipe), single=single, literal=True)[0]
    except WherryError as error:
        raise CopyError(error.message) from None


def _digest(job: dict[str, Any], single: bool) -> str:
    """The digest of what COPY --from takes."""
    exclude = Ignore(job["exclude"]) if job["exclude"] else None
    with RootFs(job["lowers"], job["folder"] + "/mnt", single=single) as root:
        return sources.digest(root, job["sources"], exclude)


def _tar(job: dict[str, Any], _single: bool) -> dict[str, Any]:
    packed = tarring.pack(job["tree"], job["recipe"])
    return {"diff_id": packed.diff_id, "size": packed.size_bytes, "entries": packed.entries, "tar_bytes": packed.tar_bytes}


def _extract(job: dict[str, Any], single: bool) -> None:
    """Copy a part of a mounted root to a folder outside of it: for binds of a stage, and for local outputs."""
    with RootFs(job["lowers"], job["folder"] + "/mnt", single=single) as root, sources.Found(root, job["path"], job["path"]) as found:
        target = RootFs([], "", upper=job["target"], single=single)
        owner = tuple(job["owner"]) if "owner" in job else None
        with target:
            Copier(target, owner=owner, mode=None).copy(found.source(job["path"], None), job["to"])
    inroot.unmount(job["folder"] + "/mnt")


def _export(job: dict[str, Any], single: bool) -> None:
    """The tar of a mounted root."""
    with RootFs(job["lowers"], job["folder"] + "/mnt", single=single) as root:
        tarring.write(root.fd, job["fd"])
    inroot.unmount(job["folder"] + "/mnt")


def _finish(job: dict[str, Any], single: bool) -> None:
    """After a RUN: mount points that were made for it go, and what the builder couldn't remove."""
    import shutil

    folder = job["folder"]
    for name in ("over/work", "overlays"):
        shutil.rmtree(f"{folder}/{name}", ignore_errors=True)
    below = RootFs(job["lowers"], folder + "/mnt", single=single)
    with below, RootFs([], "", upper=folder + "/over/upper", single=single) as upper:
        for path in job["stubs"]:
            _drop_stub(below, upper, path)
    inroot.unmount(folder + "/mnt")
    if job.get("epoch_ns", -1) >= 0:
        settle_times(folder + "/over/upper", job["epoch_ns"])


def _tidy(job: dict[str, Any], single: bool) -> None:
    """Empty mount points that a container's launch made go out of a copy of what it wrote."""
    with RootFs(job["lowers"], job["mnt"], single=single) as below, RootFs([], "", upper=job["tree"], single=single) as upper:
        for path in job["stubs"]:
            _drop_stub(below, upper, path)


def _drop_stub(below: RootFs, upper: RootFs, path: str) -> None:
    """Remove an empty mount point that the layers below don't have, and folders that were there for its sake only."""
    while path.strip("/"):
        head, name = os.path.split(path.rstrip("/"))
        try:
            parent = inroot.openat2(upper.fd, "." + head, _FOLDER, resolve=inroot.RESOLVE_IN_ROOT | inroot.RESOLVE_NO_SYMLINKS)
        except OSError:
            return
        try:
            if not _is_stub(below, parent, name, path):
                return
            status = os.fstat(parent)
            try:
                if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    os.rmdir(name, dir_fd=parent)
                else:
                    os.unlink(name, dir_fd=parent)
            except OSError:
                return
            under = below.lookup(head or "/")
            when = status if under is None else under
            os.utime(parent, ns=(when.st_mtime_ns, when.st_mtime_ns))
        finally:
            os.close(parent)
        path = head


def _is_stub(below: RootFs, parent: int, name: str, path: str) -> bool:
    """An empty file or folder that is not there without the layer, or a folder that is there just as it is."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError:
        return False
    under = below.lookup(path, follow=False)
    if stat.S_ISREG(found.st_mode):
        return found.st_size == 0 and under is None
    if not stat.S_ISDIR(found.st_mode):
        return False
    return under is None or (under.st_mode, under.st_uid, under.st_gid) == (found.st_mode, found.st_uid, found.st_gid)


def _place(job: dict[str, Any], _single: bool) -> None:
    """Write a secret where only the step's container binds it from, or give a folder its owner."""
    if "data" in job:
        fd = os.open(job["path"], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.write(fd, bytes.fromhex(job["data"]))
    else:
        fd = os.open(job["path"], _FOLDER)
    try:
        os.fchown(fd, job["uid"], job["gid"])
    except OSError as error:
        # With one id alone everything is the user's.
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise
    os.fchmod(fd, job["mode"])
    os.close(fd)


def _hide(job: dict[str, Any], _single: bool) -> None:
    """Whiteouts in an upper folder: what .dockerignore leaves out isn't seen through a bind of the context."""
    made: list[str] = []
    for path in job["hidden"]:
        parts = path.split("/")
        for count in range(1, len(parts)):
            folder = "/".join(parts[:count])
            if folder not in made:
                os.mkdir(f"{job['upper']}/{folder}", 0o700)
                made.append(folder)
        os.mknod(f"{job['upper']}/{path}", stat.S_IFCHR, 0)
    for folder in reversed(made):
        # The upper folder's attributes are the ones that are seen.
        found = os.stat(f"{job['lower']}/{folder}")
        target = f"{job['upper']}/{folder}"
        try:
            os.chown(target, found.st_uid, found.st_gid)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
        os.chmod(target, stat.S_IMODE(found.st_mode))
        os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))


def _merge(job: dict[str, Any], single: bool) -> None:
    """Layers, lowest first, into one."""
    if not job["lowers"]:
        Merger(None).merge(job["trees"], job["target"])
        return
    os.mkdir(job["mount"])
    with RootFs(job["lowers"], job["mount"], single=single) as base:
        Merger(base).merge(job["trees"], job["target"])
    inroot.unmount(job["mount"])
    os.rmdir(job["mount"])


def _rename(job: dict[str, Any], _single: bool) -> None:
    os.rename(job["from"], job["to"])


def _size(job: dict[str, Any], _single: bool) -> dict[str, int]:
    """Bytes and entries of a tree, cheaply: for a layer that a step has just written."""
    size = entries = 0
    todo = [job["tree"]]
    while todo:
        folder = todo.pop()
        try:
            with os.scandir(folder) as listing:
                for entry in listing:
                    entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        size += entry.stat(follow_symlinks=False).st_size
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.ENOENT):
                raise
    return {"bytes": size, "entries": entries}


_JOBS: dict[str, Callable[[dict[str, Any], bool], Any]] = {
    "copy-into": _copy_into,
    "digest": _digest,
    "export": _export,
    "extract": _extract,
    "finish": _finish,
    "hide": _hide,
    "layer": _layer,
    "merge": _merge,
    "place": _place,
    "rename": _rename,
    "same_root": _same_root,
    "size": _size,
    "tar": _tar,
    "tidy": _tidy,
}
_ACTIONS: dict[str, Callable[[RootFs, dict[str, Any], dict[str, int], str], None]] = {"copy": _copy, "workdir": _workdir}
