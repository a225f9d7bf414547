"""Paths inside a root that is not ours: openat2(RESOLVE_IN_ROOT), and the few calls that Python has no word for.

By way of ctypes, whose import takes milliseconds: for the builder's worker, never for the hot commands.
"""

from __future__ import annotations

import ctypes
import errno
import os

_SYS_OPENAT2 = 437
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT = 2, 4, 0x10
CLONE_NEWNS = 0x20000
MS_RDONLY, MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED, MS_REMOUNT, MNT_DETACH = 1, 0x1000, 0x4000, 1 << 18, 1 << 20, 32, 2

_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _raise(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), what)


def openat2(root: int, path: str, flags: int, mode: int = 0, *, resolve: int = RESOLVE_IN_ROOT) -> int:
    """Open `path` below the folder `root` as a process would that has it as its root. Raises OSError with the path."""
    name = os.fsencode(path or ".")
    how = _How(flags | os.O_CLOEXEC, mode, resolve | RESOLVE_NO_MAGICLINKS)
    while True:
        fd = int(_libc.syscall(_SYS_OPENAT2, root, name, ctypes.byref(how), ctypes.sizeof(how)))
        if fd >= 0:
            return fd
        # EAGAIN: something was renamed while the kernel looked; it could not be sure to have stayed inside.
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            _raise(path)


def unshare_mounts() -> None:
    """A mount namespace of our own, from which nothing gets out."""
    if _libc.unshare(CLONE_NEWNS):
        _raise("unshare")
    if _libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
        _raise("/")


def bind_shared(path: str) -> None:
    """Bind a folder on itself, shared: what is mounted on it later is seen by all who have taken a slave of it. Read-only, so that
    nothing is written below while nothing is mounted on it."""
    name = os.fsencode(path)
    if _libc.mount(name, name, None, MS_BIND, None) or _libc.mount(None, name, None, MS_SHARED, None):
        _raise(path)
    if _libc.mount(None, name, None, MS_BIND | MS_REMOUNT | MS_RDONLY, None):
        _raise(path)


def mount_overlay(lowers: list[str], upper: str, work: str, target: str) -> None:
    """Mount an overlay. `lowers` topmost first; with `upper` "" it is read-only and needs two of them.

    The kernel takes one page of options, so lower folders are named relative to the one that they share: for 127 layers, the
    most that an image can have, that is short enough.
    """
    base = os.path.commonpath(lowers) if len(lowers) > 1 else os.path.dirname(lowers[0])
    names = [os.path.relpath(path, base) for path in lowers]
    options = "lowerdir=" + ":".join(_escaped(name) for name in names)
    if upper:
        options += f",upperdir={_escaped(upper)},workdir={_escaped(work)}"
    options += ",userxattr"
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(base)
        if _libc.mount(b"overlay", os.fsencode(target), b"overlay", 0, os.fsencode(options)):
            _raise(target)
    finally:
        os.fchdir(here)
        os.close(here)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def unmount(target: str) -> None:
    """Take a mount away, or whatever is left of it when the last descriptor is closed; nothing happens where nothing is mounted."""
    if _libc.umount2(os.fsencode(target), MNT_DETACH) and ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        _raise(target)
