"""Blobs of layers beside the trees: what was downloaded, what was compressed for a push, and recipes of tars that nobody kept.

    blobs/sha256/<hex>      whole blobs, configs and manifests among them
    partial/<hex>           downloads that are to be resumed
    recipes/<hex>           of the layer with this diff id: `wherry-native pack` makes its tar again (native/recipe.h)

A blob may lie here before a row names it. Who puts such ones there holds `InUse`; who removes unnamed ones holds it alone.
"""

from __future__ import annotations

import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from wherry.store import Store

# Downloads that nobody came back for, and more of them than this, give way to newer ones.
PARTIAL_DAYS = 14
PARTIAL_LIMIT = 20 << 30


def path(store: Store, digest: str) -> str:
    return store.path("blobs", *digest.split(":", 1))


def partial_path(store: Store, digest: str) -> str:
    return store.path("partial", digest.partition(":")[2])


def recipe_path(store: Store, diff_id: str) -> str:
    return store.path("recipes", diff_id.partition(":")[2])


def has(store: Store, digest: str) -> bool:
    return bool(digest) and os.path.exists(path(store, digest))


def keep(store: Store, digest: str) -> None:
    """Move a download that is whole to the blobs. Not yet synced. Raises FileNotFoundError when it is in neither place."""
    try:
        os.rename(partial_path(store, digest), path(store, digest))
    except FileNotFoundError:
        os.stat(path(store, digest))


class InUse:
    """While it is held nobody takes unnamed blobs away. Several may hold it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fd = -1

    def __enter__(self) -> InUse:
        self._fd = _lock_file(self._store)
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._fd)


def _lock_file(store: Store) -> int:
    return os.open(store.path("partial", ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def collect(store: Store) -> int:
    """Remove blobs and recipes that no row names, and downloads that nobody came back for; returns the bytes that came free.

    Does nothing while another command moves images: the next one will.
    """
    fd = _lock_file(store)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        with store.db.transaction(durable=False):
            return _collect_blobs(store) + _collect_recipes(store) + _collect_partial(store)
    finally:
        os.close(fd)


def _collect_blobs(store: Store) -> int:
    named = {str(d) for row in store.db.rows("SELECT id, manifest_digest FROM images") for d in row if d}
    named |= {str(d) for (d,) in store.db.rows("SELECT blob_digest FROM layers WHERE blob_digest IS NOT NULL")}
    folder = store.path("blobs", "sha256")
    # Configs and manifests are put there moments before their row, by commands that don't hold the lock.
    young = time.time() - 3600
    freed = 0
    for name in os.listdir(folder):
        if "sha256:" + name in named:
            continue
        try:
            status = os.lstat(f"{folder}/{name}")
            if status.st_size < 1 << 20 and status.st_ctime > young and not _gzip_like(f"{folder}/{name}"):
                continue
        except FileNotFoundError:
            continue
        freed += _unlink(f"{folder}/{name}")
    return freed


def _gzip_like(file: str) -> bool:
    """Whether it is a layer: no config and no manifest begins like this."""
    with open(file, "rb") as f:
        return f.read(1) != b"{"


def _collect_recipes(store: Store) -> int:
    known = {str(d).partition(":")[2] for (d,) in store.db.rows("SELECT diff_id FROM layers WHERE diff_id IS NOT NULL")}
    try:
        names = os.listdir(store.path("recipes"))
    except FileNotFoundError:
        return 0
    return sum(_unlink(store.path("recipes", name)) for name in names if name not in known)


def _collect_partial(store: Store) -> int:
    found = []
    for name in os.listdir(store.path("partial")):
        if name != ".lock":
            status = os.lstat(store.path("partial", name))
            found.append((status.st_mtime, status.st_blocks * 512, name))
    freed = 0
    total = sum(size for _time, size, _name in found)
    for changed, size, name in sorted(found):
        if changed < time.time() - PARTIAL_DAYS * 86400 or total > PARTIAL_LIMIT:
            freed += _unlink(store.path("partial", name))
            total -= size
    return freed


def _unlink(file: str) -> int:
    try:
        size = os.lstat(file).st_blocks * 512
        os.unlink(file)
        return size
    except FileNotFoundError:
        return 0
