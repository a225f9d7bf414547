"""One after the other: what two test processes must not do at the same time (make in one folder, choose a range of ids)."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def turn(what: str) -> Iterator[None]:
    """Hold the machine-wide lock called `what` (letters only) as long as the `with` lasts."""
    path = os.path.join(tempfile.gettempdir(), f"wherry-tests-{os.getuid()}-{what}.lock")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
