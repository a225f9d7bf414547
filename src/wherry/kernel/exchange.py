"""renameat2(RENAME_EXCHANGE): two folders change places in one step. By way of ctypes, for cold paths only."""

from __future__ import annotations

import ctypes
import os

_AT_FDCWD, _EXCHANGE = -100, 2
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: str, other: str) -> None:
    """Raises OSError; EINVAL where the file system can't."""
    if _libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), one)
