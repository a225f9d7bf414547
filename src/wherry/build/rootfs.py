"""The file system of a stage, for the worker: layers mounted as one, and work in it by descriptors.

Everything in it was made by somebody else: names are resolved inside it, last components are never followed unless that is meant.
"""

from __future__ import annotations

import errno
import os
import stat

from wherry.kernel import inroot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
# Where one id is all there is, owners are kept here, as text "uid:gid".
OWNER_XATTR = "user.wherry.owner"
_MAX_LINKS = 40
_DATABASE_LIMIT = 4 << 20


class RootFs:
    """Layers mounted on `mount`, in this process's own mount namespace. `fd` is its root. A context manager."""

    def __init__(self, lowers: list[str], mount: str, *, upper: str = "", work: str = "", single: bool = False) -> None:
        self.single = single
        self.writable = bool(upper)
        self.upper_fd = os.open(upper, _FOLDER | os.O_CLOEXEC) if upper else -1
        if upper and not lowers:
            # Nothing below: the new layer is the whole file system.
            self.fd = os.open(upper, _FOLDER | os.O_CLOEXEC)
            return
        if not upper and len(lowers) == 1:
            self.fd = os.open(lowers[0], _FOLDER | os.O_CLOEXEC)
            return
        os.makedirs(mount, exist_ok=True)
        if not lowers:
            self.fd = os.open(mount, _FOLDER | os.O_CLOEXEC)
            return
        inroot.mount_overlay(lowers, upper, work, mount)
        self.fd = os.open(mount, _FOLDER | os.O_CLOEXEC)

    def __enter__(self) -> RootFs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.fd)
        if self.upper_fd >= 0:
            os.close(self.upper_fd)

    def in_upper(self, path: str) -> int:
        """A folder of the new layer, where the layers below don't shine through; `path` has no links in it."""
        flags = inroot.RESOLVE_IN_ROOT | inroot.RESOLVE_NO_SYMLINKS
        return inroot.openat2(self.upper_fd, path or ".", _FOLDER, resolve=flags)

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        return inroot.openat2(self.fd, path, flags, mode)

    def lookup(self, path: str, *, follow: bool = True) -> os.stat_result | None:
        """What `path` is, None when there is nothing."""
        try:
            fd = self.open(path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def resolved(self, path: str) -> str:
        """`path` with every link in it followed, inside the root; it must exist. Without a leading slash, "" is the root."""
        fd = self.open(path, os.O_PATH)
        try:
            return self._name_of(fd)
        finally:
            os.close(fd)

    def _name_of(self, fd: int) -> str:
        root, name = os.readlink(f"/proc/self/fd/{self.fd}"), os.readlink(f"/proc/self/fd/{fd}")
        if name == root:
            return ""
        prefix = root.rstrip("/") + "/"
        if not name.startswith(prefix):
            raise OSError(errno.EXDEV, "it lies outside", name)
        return name[len(prefix) :]

    def make_folders(self, path: str, owner: tuple[int, int] | None = None, mode: int = 0o755, links: int = 0) -> int:
        """`mkdir -p`, links on the way followed inside the root; a descriptor of the last folder. Raises OSError."""
        wanted = [part for part in path.split("/") if part and part != "."]
        done = ""
        fd = os.dup(self.fd)
        for part in wanted:
            done = f"{done}/{part}"
            try:
                following = self.open(done, _FOLDER)
            except FileNotFoundError:
                # The parent was resolved, so this makes an entry in it and nowhere else; a dangling link is an error.
                try:
                    os.mkdir(part, mode, dir_fd=fd)
                except FileExistsError:
                    # A link that leads to nothing: what it names is made, inside the root.
                    following = self._behind(os.readlink(part, dir_fd=fd), os.path.dirname(done), owner, mode, links)
                else:
                    following = os.open(part, _FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                os.fchmod(following, mode)
                if owner is not None:
                    self.give(following, owner)
            finally:
                os.close(fd)
            fd = following
        return fd

    def _behind(self, target: str, folder: str, owner: tuple[int, int] | None, mode: int, links: int) -> int:
        if links >= _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), target)
        return self.make_folders(target if target.startswith("/") else f"{folder}/{target}", owner, mode, links + 1)

    def give(self, fd: int, owner: tuple[int, int]) -> None:
        """Set the owner of an open file or folder."""
        if not self.single:
            os.fchown(fd, *owner)
        elif owner != (0, 0):
            os.setxattr(fd, OWNER_XATTR, f"{owner[0]}:{owner[1]}".encode())

    def give_name(self, folder: int, name: str, owner: tuple[int, int]) -> None:
        """Set the owner of an entry, which may be a link (with one id alone links have no other owner)."""
        if not self.single:
            os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)

    # -- users -----------------------------------------------------------------------------------------------------------

    def owner(self, text: str) -> tuple[int, int]:
        """uid and gid of "user", "user:group", "1000:0": names are looked up in this file system. Raises ValueError."""
        user, colon, group = text.partition(":")
        if user.isascii() and user.isdigit():
            uid = gid = _id(user)
        elif user or not colon:
            uid, gid = self._user(user)
        else:
            uid = gid = 0
        if group:
            gid = _id(group) if group.isascii() and group.isdigit() else self._group(group)
        return uid, gid

    def _user(self, name: str) -> tuple[int, int]:
        for fields in self._rows("/etc/passwd"):
            if len(fields) >= 4 and fields[0] == name and fields[2].isdigit() and fields[3].isdigit():
                return _id(fields[2]), _id(fields[3])
        raise ValueError(f"unable to find user {name}: no matching entries in passwd file")

    def _group(self, name: str) -> int:
        for fields in self._rows("/etc/group"):
            if len(fields) >= 3 and fields[0] == name and fields[2].isdigit():
                return _id(fields[2])
        raise ValueError(f"unable to find group {name}: no matching entries in group file")

    def _rows(self, path: str) -> list[list[str]]:
        try:
            # It may be a FIFO or a device: opened without waiting, and read only if it is a plain file.
            fd = self.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return []
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return []
            with open(fd, "rb", closefd=False) as file:
                data = file.read(_DATABASE_LIMIT)
        finally:
            os.close(fd)
        return [line.split(":") for line in data.decode("utf-8", "surrogateescape").splitlines()]


def _id(text: str) -> int:
    number = int(text)
    if number >= 0xFFFFFFFF:
        raise ValueError(f"the id {text} is too large")
    return number
