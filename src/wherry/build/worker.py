"""The builder's second half: a process that is root of the user's namespace R and works on the trees of layers.

It is started once a build and forks for each job. A job comes as one JSON object on a socket of its own, and so does its answer:
{"ok": …} or {"error": text}. Each child has its own mount namespace: what it mounts is gone with it.
"""

from __future__ import annotations

import errno
import json
import os
import socket

from wherry.build import sources, tarring
from wherry.build.chmod import Mode
from wherry.build.copying import Copier, CopyError, Source
from wherry.build.ignore import Ignore
from wherry.build.rootfs import RootFs
from wherry.kernel import inroot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def main(control: int, uid_mapped: bool) -> None:
    """Serve until the builder closes its end of `control`."""
    import signal

    # Its children are nobody's to wait for; ctrl-C is the builder's to handle.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0)
    with socket.socket(fileno=control) as stream:
        while True:
            data, fds, _flags, _address = socket.recv_fds(stream, 1, 1)
            if not data or not fds:
                os._exit(0)
            if os.fork() == 0:
                stream.close()
                _serve(fds[0], single=not uid_mapped)
            os.close(fds[0])


def _serve(fd: int, *, single: bool) -> None:
    import signal

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        with socket.socket(fileno=fd) as stream:
            job = json.loads(_received(stream))
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
    with RootFs(job["lowers"], folder + "/mnt", upper=upper, work=folder + "/over/work", single=single) as root:
        for number, action in enumerate(job["actions"]):
            _ACTIONS[action["do"]](root, action, made, f"{folder}/from{number}")
    _lift_work(folder)
    return made


def _lift_work(folder: str) -> None:
    """overlayfs leaves a folder without rights in `work`; who cleans up may be an ordinary user."""
    try:
        os.chmod(folder + "/over/work/work", 0o700)
    except OSError:
        return


def _workdir(root: RootFs, action: dict[str, Any], _made: dict[str, int], _mount: str) -> None:
    owner = root.owner(action["user"]) if action["user"] else None
    os.close(root.make_folders(action["path"], owner))


def _copy(root: RootFs, action: dict[str, Any], made: dict[str, int], mount: str) -> None:
    owner = root.owner(action["chown"]) if action["chown"] else None
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
        # The unpacker is a process of its own: it opens the folder by way of ours.
        path = f"/proc/{os.getpid()}/fd/{folder}"
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
        copier = Copier(target, owner=None, mode=None)
        copier.copy(found.source(job["path"], None), job["to"])


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
    "digest": _digest,
    "extract": _extract,
    "layer": _layer,
    "rename": _rename,
    "size": _size,
    "tar": _tar,
}
_ACTIONS: dict[str, Callable[[RootFs, dict[str, Any], dict[str, int], str], None]] = {"copy": _copy, "workdir": _workdir}
