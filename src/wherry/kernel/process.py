"""Processes by pid and start time: a pid alone may have become somebody else's."""

from __future__ import annotations

import os

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot (field 22 of /proc/<pid>/stat). 0 when there is none, or only its corpse."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        data = os.read(fd, 4096)
    except OSError:
        return 0
    finally:
        os.close(fd)
    # The name in parentheses may hold anything, blanks and parentheses too: the fields begin behind the last one.
    fields = data[data.rfind(b")") + 2 :].split()
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return 0
    return int(fields[19])


def alive(pid: int, start: int) -> bool:
    """Whether the process that had this pid since this start time still lives."""
    return pid > 0 and start > 0 and start_time(pid) == start


def kill(pid: int, start: int, number: int = 9) -> bool:
    """Signal that very process, through a descriptor of it, so that a pid that was used again is never hit. False if it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if start_time(pid) != start:
            return False
        import _signal  # the plain module: `signal` would load enum

        _signal.pidfd_send_signal(fd, number)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def boot_id() -> str:
    """The id that the kernel chose for this boot."""
    return read_text(_BOOT_ID)


def read_text(path: str) -> str:
    """A short text file without its last newline; "" when there is none. (`open` would import a codec.)"""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return os.fsdecode(os.read(fd, 4096)).rstrip("\n")
    finally:
        os.close(fd)
