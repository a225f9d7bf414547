"""A little disk kept aside, so that stopping, removing and their records work when containers have filled the file system.

`<root>/reserve` is a file of allocated blocks. Commands that make room give it back first when there is next to none left; so does
a monitor that can't write how its container ended. Later commands make it again when there is room for it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store

NAME = "reserve"
SIZE_BYTES = 2 << 20
# Nobody's last room is taken for it.
_ROOM = 8 * SIZE_BYTES
_NEXT_TO_NONE = 1 << 20


def free_bytes(store: Store) -> int:
    found = os.statvfs(store.root)
    return found.f_bavail * found.f_frsize


def keep(store: Store) -> None:
    """Make the reserve where it is missing and there is room. Fails silently: it is only for bad days."""
    path = store.path(NAME)
    if os.path.exists(path):
        return
    try:
        if free_bytes(store) < _ROOM:
            return
        new = store.staging(NAME)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, SIZE_BYTES)
        finally:
            os.close(fd)
        os.rename(new, path)
    except OSError:
        return


def use(store: Store) -> None:
    """Before something that makes room: give the reserve back if the disk is full."""
    try:
        if free_bytes(store) < _NEXT_TO_NONE:
            os.unlink(store.path(NAME))
    except OSError:
        return
