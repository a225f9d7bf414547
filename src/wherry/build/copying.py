"""COPY and ADD in a mounted root: where a source lands, who owns it, what it replaces. For the worker.

The rules are those of BuildKit's file operations: a folder's contents are copied, folders on the way are made 0755 with the
copy's owner, a link at the destination is followed inside the root, a link inside what is copied is copied as a link.
"""

from __future__ import annotations

import errno
import os
import stat

from wherry.build.chmod import Mode
from wherry.build.rootfs import OWNER_XATTR, RootFs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL = 1 << 20
_MAX_LINKS = 40
# Of a folder that this copy has made: nothing is in it that would have to go; in a plain one new files are root's own.
_FRESH, _PLAIN = 1, 2


class CopyError(Exception):
    """A copy that the rules forbid, in BuildKit's words."""


class Source:
    """A file or a folder to be copied: `name` in the folder `parent`.

    `names` lists what is in the folder at a path below it ("" for the source itself): the worker's own walk, or the builder's
    listing. `keep_owners`: of a stage; a context's files are root's.
    """

    def __init__(self, parent: int, name: str, shown: str, names: Callable[[str, int], list[str]], *, keep_owners: bool) -> None:
        self.parent = parent
        self.name = name
        self.shown = shown
        self.names = names
        self.keep_owners = keep_owners


class Copier:
    """Copies into `root`. `owner` None: as the source has it. Counts what it copied; `latest_ns`: the newest ctime it met."""

    def __init__(self, root: RootFs, *, owner: tuple[int, int] | None, mode: Mode | None, epoch_ns: int = -1) -> None:
        self._root = root
        self._owner = owner
        self._mode = mode
        self._epoch_ns = epoch_ns
        self._links: dict[tuple[int, int], str] = {}
        self.entries = 0
        self.bytes = 0
        self.latest_ns = 0

    def copy(self, source: Source, destination: str) -> None:
        """Copy one source. `destination` is absolute; with a slash at its end it is a folder. Raises CopyError, OSError."""
        found = os.stat(source.name, dir_fd=source.parent, follow_symlinks=False)
        there = self._root.lookup(destination)
        if stat.S_ISDIR(found.st_mode):
            if there is not None and not stat.S_ISDIR(there.st_mode):
                raise CopyError(f"cannot copy to non-directory: {destination.rstrip('/')}")
            folder = self._folders(destination)
            try:
                fresh = 0
                if there is None:
                    folder, fresh = self._in_upper(folder, self._root.resolved(destination))
                self._contents(source, folder, self._root.resolved(destination), fresh)
            finally:
                os.close(folder)
            return
        name = os.path.basename(source.shown)
        if destination.endswith("/") or there is not None and stat.S_ISDIR(there.st_mode):
            folder, base = self._folders(destination), self._root.resolved(destination)
        else:
            folder, base, name = self._place(destination)
        try:
            self._entry(source, source.parent, source.name, "", found, folder, name, base)
        finally:
            os.close(folder)

    def copy_whole(self, source: Source, destination: str) -> None:
        """Copy a source to exactly `destination`, a folder with its own attributes: --parents keeps names as they are."""
        found = os.stat(source.name, dir_fd=source.parent, follow_symlinks=False)
        head, name = os.path.split(destination.rstrip("/"))
        folder = self._folders(head)
        try:
            self._entry(source, source.parent, source.name, "", found, folder, name, self._root.resolved(head), top=True)
        finally:
            os.close(folder)

    def parents(self, other: RootFs | int, base: str, path: str, destination: str) -> None:
        """Make the folders above `path` at the destination as they are above it in the source, where they are missing."""
        at = destination.rstrip("/")
        for part in path.split("/")[:-1]:
            base = f"{base}/{part}".lstrip("/")
            at = f"{at}/{part}"
            if self._root.lookup(at) is not None:
                continue
            fd = other.open(base, os.O_RDONLY | os.O_DIRECTORY) if isinstance(other, RootFs) else os.open(base, _FOLDER, dir_fd=other)
            try:
                found = os.fstat(fd)
            finally:
                os.close(fd)
            folder = self._root.make_folders(at, self._owner)
            try:
                if isinstance(other, RootFs) and self._owner is None:
                    self._root.give(folder, (found.st_uid, found.st_gid))
                os.fchmod(folder, found.st_mode & 0o7777)
            finally:
                os.close(folder)

    def put(self, name: str, content: bytes, destination: str) -> None:
        """A file out of a heredoc: mode 0644 unless the copy has one."""
        there = self._root.lookup(destination)
        if destination.endswith("/") or there is not None and stat.S_ISDIR(there.st_mode):
            folder = self._folders(destination)
        else:
            folder, _base, name = self._place(destination)
        try:
            self._clear(folder, name, name)
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(fd, view) :]
                if self._owner is not None:
                    self._root.give(fd, self._owner)
                os.fchmod(fd, 0o644 if self._mode is None else self._mode.of(0o100644))
                if self._epoch_ns >= 0:
                    os.utime(fd, ns=(self._epoch_ns, self._epoch_ns))
            finally:
                os.close(fd)
        finally:
            os.close(folder)
        self.entries += 1

    def _folders(self, path: str) -> int:
        try:
            return self._root.make_folders(path, self._owner)
        except NotADirectoryError as error:
            raise CopyError(f"cannot copy to non-directory: {error.filename}") from None

    def folder_at(self, path: str) -> int:
        """A folder, made if it is missing, for what is unpacked there."""
        return self._folders(path)

    def _place(self, path: str) -> tuple[int, str, str]:
        """The folder, its path and the name that `path` means when links are followed inside the root, also one at its end."""
        for _ in range(_MAX_LINKS):
            head, name = os.path.split(path)
            folder = self._folders(head)
            base = self._root.resolved(head)
            try:
                target = os.readlink(name, dir_fd=folder)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ENOENT):
                    return folder, base, name
                os.close(folder)
                raise
            os.close(folder)
            path = target if target.startswith("/") else f"/{base}/{target}"
            if path.endswith(("/", "/.", "/..")):
                path = path.rstrip("/.") or "/"
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    # -- trees -----------------------------------------------------------------------------------------------------------

    def _in_upper(self, folder: int, path: str) -> tuple[int, int]:
        """A folder that was made just now lies in the new layer alone: its files are put there without overlayfs's detour.

        `folder` is closed. Returns (descriptor, what is known of it: _FRESH or _PLAIN).
        """
        try:
            fd = self._root.in_upper(path)
        finally:
            os.close(folder)
        return fd, _FRESH if os.fstat(fd).st_mode & stat.S_ISGID else _PLAIN

    def _contents(self, source: Source, folder: int, base: str, fresh: int) -> None:
        start = os.open(source.name or ".", _FOLDER, dir_fd=source.parent)
        try:
            for name in source.names("", start):
                try:
                    found = os.stat(name, dir_fd=start, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                self._entry(source, start, name, "", found, folder, name, base, fresh=fresh)
        finally:
            os.close(start)

    def _entry(
        self,
        source: Source,
        at: int,
        name: str,
        path: str,
        found: os.stat_result,
        folder: int,
        new_name: str,
        base: str,
        *,
        top: bool = False,
        fresh: int = 0,
    ) -> None:
        """One entry, with what is below it. `base`: the path of `folder` in the root. `top`: paths are counted from inside it.
        `fresh`: `folder` was made by this copy.
        """
        inner = "" if top else f"{path}/{name}" if path else name
        self.latest_ns = max(self.latest_ns, found.st_ctime_ns)
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFSOCK:
            return
        self.entries += 1
        target = f"{base}/{new_name}" if base else new_name
        if kind == stat.S_IFDIR:
            self._folder(source, at, name, inner, found, folder, new_name, target, fresh)
            return
        if not fresh:
            self._clear(folder, new_name, target)
        key = (found.st_dev, found.st_ino)
        if found.st_nlink > 1 and key in self._links:
            top_fd = self._root.upper_fd if fresh else self._root.fd
            os.link(self._links[key], new_name, src_dir_fd=top_fd, dst_dir_fd=folder, follow_symlinks=False)
            return
        if kind == stat.S_IFREG:
            self._file(source, at, name, found, folder, new_name, fresh)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=at), new_name, dir_fd=folder)
            self._root.give_name(folder, new_name, self._owner_of(source, found, None))
            self._touch(found, new_name, folder)
        elif not self._special(source, found, folder, new_name):
            return
        if found.st_nlink > 1:
            self._links[key] = target

    def _folder(
        self, source: Source, at: int, name: str, inner: str, found: os.stat_result, folder: int, new_name: str, target: str, fresh: int
    ) -> None:
        made = True
        try:
            os.mkdir(new_name, 0o700, dir_fd=folder)
        except FileExistsError:
            made = False
            there = os.stat(new_name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(there.st_mode):
                raise CopyError(f"cannot copy to non-directory: /{target}") from None
        start = os.open(name, _FOLDER, dir_fd=at)
        try:
            fd = os.open(new_name, _FOLDER, dir_fd=folder)
            if made and not fresh:
                fd, fresh = self._in_upper(fd, target)
            elif made:
                fresh = _FRESH if os.fstat(fd).st_mode & stat.S_ISGID else _PLAIN
            else:
                fresh = 0
            try:
                for child in source.names(inner, start):
                    try:
                        entry = os.stat(child, dir_fd=start, follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    self._entry(source, start, child, inner, entry, fd, child, target, fresh=fresh)
                self._attributes(source, start, fd, found)
            finally:
                os.close(fd)
        finally:
            os.close(start)

    def _file(self, source: Source, at: int, name: str, found: os.stat_result, folder: int, new_name: str, fresh: int) -> None:
        start = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        try:
            fd = os.open(new_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
            try:
                self.bytes += _copy_data(start, fd, found.st_size)
                self._attributes(source, start, fd, found, ours=fresh == _PLAIN)
            finally:
                os.close(fd)
        finally:
            os.close(start)

    def _special(self, source: Source, found: os.stat_result, folder: int, name: str) -> bool:
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            # A whiteout: an entry that is gone.
            return False
        try:
            os.mknod(name, found.st_mode, found.st_rdev, dir_fd=folder)
        except PermissionError:
            # Nobody may make a device in a user namespace; the runtime gives containers theirs.
            return False
        self._root.give_name(folder, name, self._owner_of(source, found, None))
        os.chmod(name, found.st_mode & 0o7777, dir_fd=folder)
        self._touch(found, name, folder)
        return True

    # -- attributes ------------------------------------------------------------------------------------------------------

    def _owner_of(self, source: Source, found: os.stat_result, start: int | None) -> tuple[int, int]:
        if self._owner is not None:
            return self._owner
        if not source.keep_owners:
            return 0, 0
        if self._root.single and start is not None:
            try:
                uid, _, gid = os.getxattr(start, OWNER_XATTR).decode().partition(":")
                return int(uid), int(gid)
            except (OSError, ValueError):
                return 0, 0
        return found.st_uid, found.st_gid

    def _attributes(self, source: Source, start: int, fd: int, found: os.stat_result, *, ours: bool = False) -> None:
        """Owner first: the kernel takes set-id bits and capabilities away with a change of owner. `ours`: it is root's already."""
        owner = self._owner_of(source, found, start)
        if not ours or owner != (0, 0):
            self._root.give(fd, owner)
        mode = found.st_mode if self._mode is None else self._mode.of(found.st_mode)
        os.fchmod(fd, mode & 0o7777)
        for name in os.listxattr(start):
            if name == "security.capability" or name.startswith("user.") and not name.startswith(("user.overlay.", OWNER_XATTR)):
                try:
                    os.setxattr(fd, name, os.getxattr(start, name))
                except OSError as error:
                    if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENODATA):
                        raise
        when = found.st_mtime_ns if self._epoch_ns < 0 else self._epoch_ns
        os.utime(fd, ns=(when, when))

    def _touch(self, found: os.stat_result, name: str, folder: int) -> None:
        when = found.st_mtime_ns if self._epoch_ns < 0 else self._epoch_ns
        os.utime(name, ns=(when, when), dir_fd=folder, follow_symlinks=False)

    def _clear(self, folder: int, name: str, shown: str) -> None:
        """Make room for something that is no folder."""
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            raise CopyError(f"cannot replace to directory /{shown} with file") from None


def _copy_data(start: int, end: int, size: int) -> int:
    done = 0
    if size <= _SMALL:
        data = os.read(start, size + 1)
        if len(data) <= size and os.write(end, data) == len(data):
            return len(data)
        os.lseek(start, 0, os.SEEK_SET)
        os.lseek(end, 0, os.SEEK_SET)
        while data := os.read(start, _SMALL):
            view = memoryview(data)
            while view:
                view = view[os.write(end, view) :]
            done += len(data)
        return done
    copy: Any = os.copy_file_range
    while True:
        try:
            part = copy(start, end, 1 << 30)
        except OSError as error:
            if copy is os.copy_file_range and error.errno in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                copy = _send
                continue
            raise
        if part == 0:
            return done
        done += part


def _send(start: int, end: int, most: int) -> int:
    return os.sendfile(end, start, None, min(most, 1 << 24))
