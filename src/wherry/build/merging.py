"""Several layers into one (--squash, --layers=false): what a stack of overlay folders shows above what lies below it.

Files are linked, not copied: layers are never written to. For the worker.
"""

from __future__ import annotations

import os
import shutil
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.build.rootfs import RootFs

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = "user.overlay.opaque"
_ORIGINS = ("user.overlay.origin", "user.overlay.impure", "user.overlay.redirect")


class Merger:
    """`base`: what lies below the result, None for nothing. A whiteout stays only where it hides something of it: overlayfs shows
    others as files in folders that one layer alone has.
    """

    def __init__(self, base: RootFs | None) -> None:
        self._base = base

    def merge(self, trees: list[str], target: str) -> None:
        """Put layers (lowest first) into the empty folder `target`, one after the other."""
        to = os.open(target, _FOLDER)
        try:
            for tree in trees:
                source = os.open(tree, _FOLDER)
                try:
                    self._contents(source, to, "", hides=False)
                    self._attributes(source, to)
                finally:
                    os.close(source)
        finally:
            os.close(to)

    def _contents(self, source: int, to: int, path: str, *, hides: bool) -> None:
        """`hides`: nothing of the base is seen at `path`."""
        for name in os.listdir(source):
            found = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                self._folder(name, source, to, f"{path}/{name}", hides=hides)
                continue
            self._clear(name, to)
            if _is_whiteout(found) and (hides or not self._lies_below(f"{path}/{name}")):
                continue
            os.link(name, name, src_dir_fd=source, dst_dir_fd=to, follow_symlinks=False)

    def _lies_below(self, path: str) -> bool:
        return self._base is not None and self._base.lookup(path, follow=False) is not None

    def _folder(self, name: str, source: int, to: int, path: str, *, hides: bool) -> None:
        there = _status(name, to)
        hidden = there is not None and not stat.S_ISDIR(there.st_mode)
        if hidden:
            self._clear(name, to)
        if there is None or hidden:
            os.mkdir(name, 0o700, dir_fd=to)
        inner, below = os.open(name, _FOLDER, dir_fd=source), os.open(name, _FOLDER, dir_fd=to)
        try:
            opaque = _is_opaque(inner)
            if opaque and not hidden:
                for child in os.listdir(below):
                    self._clear(child, below)
            hides = hides or _is_opaque(below) or opaque or hidden
            if (opaque or hidden) and self._lies_below(path):
                os.setxattr(below, _OPAQUE, b"y")
            self._contents(inner, below, path, hides=hides)
            self._attributes(inner, below)
        finally:
            os.close(inner)
            os.close(below)

    def _attributes(self, source: int, to: int) -> None:
        found = os.fstat(source)
        os.fchown(to, found.st_uid, found.st_gid)
        os.fchmod(to, stat.S_IMODE(found.st_mode))
        wanted = {n: os.getxattr(source, n) for n in os.listxattr(source) if n not in _ORIGINS and n != _OPAQUE}
        for name in os.listxattr(to):
            if name not in wanted and name.startswith("user.") and name != _OPAQUE:
                os.removexattr(to, name)
        for name, value in wanted.items():
            if name.startswith("user.") or name == "security.capability":
                os.setxattr(to, name, value)
        os.utime(to, ns=(found.st_mtime_ns, found.st_mtime_ns))

    @staticmethod
    def _clear(name: str, folder: int) -> None:
        there = _status(name, folder)
        if there is None:
            return
        if stat.S_ISDIR(there.st_mode):
            shutil.rmtree(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, _OPAQUE) == b"y"
    except OSError:
        return False


def settle_times(tree: str, latest_ns: int) -> None:
    """What was written later than `latest_ns` was written then: for images that come out the same whenever they are built."""
    with os.scandir(tree) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                settle_times(entry.path, latest_ns)
            elif entry.stat(follow_symlinks=False).st_mtime_ns > latest_ns:
                os.utime(entry.path, ns=(latest_ns, latest_ns), follow_symlinks=False)
    if os.stat(tree).st_mtime_ns > latest_ns:
        os.utime(tree, ns=(latest_ns, latest_ns))
