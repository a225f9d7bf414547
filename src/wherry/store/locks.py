"""Locks between commands. A lock is a flock on an open folder or file, so the kernel drops it with its holder."""

from __future__ import annotations

import errno
import fcntl
import os
import time

from wherry.errors import Conflict, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

# Whoever holds a container's lock starts or removes it; that is short unless a disk hangs.
WAIT_S = 120.0


class FolderLock:
    """Exclusive lock on a folder, held until the `with` ends or the process does.

    Raises NotFound when the folder is gone, or goes while we wait (it was removed: renamed away by the holder),
    Conflict when it can't be had within `wait_s` seconds.
    """

    def __init__(self, path: str, what: str, *, wait_s: float = WAIT_S) -> None:
        self._path = path
        self._what = what
        self._wait_s = wait_s
        self._fd = -1

    def __enter__(self) -> FolderLock:
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                raise NotFound(f"No such {self._what}") from None
            if self._take(fd, deadline) and self._still_there(fd):
                self._fd = fd
                return self
            os.close(fd)
            if time.monotonic() >= deadline:
                raise Conflict(f"{self._what} is in use by another command")

    def _take(self, fd: int, deadline: float) -> bool:
        pause_s = 0.0005
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    raise
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.02)

    def _still_there(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self._path))
        except FileNotFoundError:
            return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
