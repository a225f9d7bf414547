"""mode=sync: a plain folder, and a bucket that is kept like it.

A journal says what both sides were like when they last agreed: for each path the file's size and time, and the object's ETag. What has
changed since on one side is carried to the other. What has changed on both is a conflict: the object wins its name, and the local file
is kept beside it as NAME.conflict-<time>, which goes up as well: nothing is ever overwritten silently.
"""

from __future__ import annotations

import json
import os
import stat
import time

from wherry.model.record import Record
from wherry.volume.s3http import Client, S3Error, S3Object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PARTIAL = ".wherry-partial-"


class Report(Record):
    """What one pass did. `left` are paths that could not be carried, with the reason."""

    sent: int = 0
    received: int = 0
    removed: int = 0
    conflicts: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()


class Sync:
    """A folder and a bucket. Names in the folder are a container's choice: each is opened below a descriptor, and no link is followed."""

    def __init__(self, folder: str, journal: str, client: Client, *, read_only: bool = False) -> None:
        self._root = os.open(folder, _FOLDER)
        self._journal_path = journal
        self._client = client
        self._read_only = read_only
        self._journal: dict[str, list[Any]] = _read_journal(journal)

    def close(self) -> None:
        os.close(self._root)
        self._client.close()

    def pending(self) -> list[str]:
        """Paths that have changed here and are not sent yet."""
        local = self._local()
        return sorted(
            [p for p, now in local.items() if self._journal.get(p, [None])[0] != now] + [p for p in self._journal if p not in local]
        )

    def run(self) -> Report:
        """One pass. Raises S3Error when the server can't be reached at all."""
        remote = {o.key: o for o in self._client.list() if _is_path(o.key)}
        local = self._local()
        counts = {"sent": 0, "received": 0, "removed": 0}
        conflicts: list[str] = []
        left: list[tuple[str, str]] = []
        try:
            for path in sorted(set(remote) | set(local) | set(self._journal)):
                try:
                    self._one(path, local.get(path), remote.get(path), counts, conflicts)
                except (OSError, S3Error) as error:
                    left.append((path, str(error)))
                    if isinstance(error, S3Error) and not error.status:
                        raise
        finally:
            self._write_journal()
        return Report(conflicts=tuple(conflicts), left=tuple(left), **counts)

    def _one(self, path: str, here: list[int] | None, there: S3Object | None, counts: dict[str, int], conflicts: list[str]) -> None:
        agreed = self._journal.get(path)
        changed_here = here != (agreed[0] if agreed else None)
        changed_there = (there.etag if there else None) != (agreed[1] if agreed else None)
        if not changed_here and not changed_there:
            return
        if changed_here and changed_there and here is not None and there is not None:
            if self._same(path, here, there):
                self._journal[path] = [here, there.etag]
                return
            beside = f"{path}.conflict-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
            self._rename(path, beside)
            conflicts.append(beside)
            self._receive(path, there)
            counts["received"] += 1
            if not self._read_only:
                self._send(beside)
                counts["sent"] += 1
        elif there is not None and (changed_there or self._read_only):
            # Also one that was removed here and has changed there: it comes back.
            self._receive(path, there)
            counts["received"] += 1
        elif here is not None and (changed_here or agreed is None) and not self._read_only:
            # Also one that was removed there and has changed here.
            self._send(path)
            counts["sent"] += 1
        elif there is None and here is not None and not changed_here:
            self._unlink(path)
            self._journal.pop(path, None)
            counts["removed"] += 1
        elif here is None and there is not None and not self._read_only:
            self._client.delete(path)
            self._journal.pop(path, None)
            counts["removed"] += 1
        else:
            self._journal.pop(path, None)

    # -- the folder ----------------------------------------------------------------------------------------------------

    def _local(self) -> dict[str, list[int]]:
        """Path → [size, time in ns] of the plain files. Links, devices and the like have no form in a bucket."""
        return dict(self._walk(os.dup(self._root), ""))

    def _walk(self, fd: int, base: str) -> Iterator[tuple[str, list[int]]]:
        try:
            for name in os.listdir(fd):
                try:
                    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(found.st_mode):
                        yield from self._walk(os.open(name, _FOLDER, dir_fd=fd), f"{base}{name}/")
                    elif stat.S_ISREG(found.st_mode) and not name.startswith(_PARTIAL):
                        yield base + name, [found.st_size, found.st_mtime_ns]
                except OSError:
                    continue  # gone, or another thing by now
        finally:
            os.close(fd)

    def _parent(self, path: str, *, make: bool) -> tuple[int, str]:
        *folders, name = path.split("/")
        fd = os.dup(self._root)
        for folder in folders:
            try:
                if make:
                    try:
                        os.mkdir(folder, 0o755, dir_fd=fd)
                    except FileExistsError:
                        pass
                below = os.open(folder, _FOLDER, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd, name

    def _open(self, path: str) -> BinaryIO:
        fd, name = self._parent(path, make=False)
        try:
            return os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd), "rb")
        finally:
            os.close(fd)

    def _rename(self, path: str, new: str) -> None:
        fd, name = self._parent(path, make=False)
        try:
            os.rename(name, new.rpartition("/")[2], src_dir_fd=fd, dst_dir_fd=fd)
        finally:
            os.close(fd)

    def _unlink(self, path: str) -> None:
        fd, name = self._parent(path, make=False)
        try:
            os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)

    # -- carrying ------------------------------------------------------------------------------------------------------

    def _same(self, path: str, here: list[int], there: S3Object) -> bool:
        """Whether the file is the object: an object that went up at once has the MD5 of its bytes as its ETag."""
        import hashlib

        if here[0] != there.size or "-" in there.etag:
            return False
        digest = hashlib.md5(usedforsecurity=False)
        with self._open(path) as file:
            while data := file.read(1 << 20):
                digest.update(data)
        return digest.hexdigest() == there.etag

    def _send(self, path: str) -> None:
        with self._open(path) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                return
            headers = {"x-amz-meta-mtime": f"{before.st_mtime_ns / 1e9:.9f}", "x-amz-meta-mode": f"{stat.S_IMODE(before.st_mode):o}"}
            etag = self._client.put(path, file, before.st_size, headers)
            after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
            self._journal[path] = [[before.st_size, before.st_mtime_ns], etag]
        else:
            # It was written to meanwhile: the next pass sends it again, and knows the object for its own.
            self._journal[path] = [[-1, 0], etag]

    def _receive(self, path: str, there: S3Object) -> None:
        """Into a new file, which takes the name when it is whole."""
        fd, name = self._parent(path, make=True)
        partial = f"{_PARTIAL}{os.urandom(6).hex()}"
        try:
            with os.fdopen(
                os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd), "w+b"
            ) as file:
                headers = self._client.get(path, file)
                file.flush()
                mode = headers.get("x-amz-meta-mode", "644")
                os.fchmod(file.fileno(), int(mode, 8) & 0o777 if mode.isdigit() else 0o644)
                os.fsync(file.fileno())
                taken = headers.get("etag", "").strip('"') or there.etag
            os.rename(partial, name, src_dir_fd=fd, dst_dir_fd=fd)
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            self._journal[path] = [[found.st_size, found.st_mtime_ns], taken]
        except BaseException:
            try:
                os.unlink(partial, dir_fd=fd)
            except FileNotFoundError:
                pass
            raise
        finally:
            os.close(fd)

    def _write_journal(self) -> None:
        with open(self._journal_path + ".new", "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(self._journal, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        os.rename(self._journal_path + ".new", self._journal_path)


def _read_journal(path: str) -> dict[str, list[Any]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return json.load(file)  # type: ignore[no-any-return]
    except FileNotFoundError:
        return {}


def _is_path(key: str) -> bool:
    """A key can be anything; only what is a path of plain names below the folder becomes a file."""
    parts = key.split("/")
    return (
        "\0" not in key and not any(p in ("", ".", "..") or len(os.fsencode(p)) > 200 for p in parts) and not parts[-1].startswith(_PARTIAL)
    )
