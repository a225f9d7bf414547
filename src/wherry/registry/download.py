"""A blob as a stream that outlives broken lines: what came lies in partial/<hex>, the rest is asked for by range.

A whole blob stays there until `keep` moves it to blobs/, moments before a row names it: a pull that fails loses nothing.

Two commands that want the same blob meet at a lock on its file; the second one finds it whole.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from wherry.errors import RegistryError, StoreFull
from wherry.registry.transport import Broken
from wherry.store import blobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from wherry.registry.client import Repository
    from wherry.registry.manifests import Descriptor
    from wherry.registry.transport import Answer
    from wherry.store import Store

CHUNK = 1 << 18
# A line that brings less than this in a minute counts as broken.
_LEAST_BYTES = 4096
_SPAN_S = 60.0
# So much of a blob that can't be used is still fetched, to say whether the line or the image is at fault.
_WORTH_READING = 64 << 20


class BlobStream:
    """Read it to its end: it is then whole, and checked. Use it as a context manager.

    `came(bytes)` is called with the number of bytes that are there, now and then. Raises RegistryError (digest, size, line), StoreFull.
    """

    def __init__(self, store: Store, repository: Repository, descriptor: Descriptor, came: Callable[[int], None] | None = None) -> None:
        import hashlib

        self._store = store
        self._repository = repository
        self._descriptor = descriptor
        self._came = came or _nobody
        self._hash: Any = hashlib.sha256()
        self._at = 0
        self._there = 0
        self._fd = -1
        self._whole = False
        self._answer: Answer | None = None
        self._failures = 0
        self._failed_at = 0
        self._span = (0.0, 0)
        self.fetched = 0

    def __enter__(self) -> BlobStream:
        self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._hang_up()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        digest = self._descriptor.digest
        final = blobs.path(self._store, digest)
        while True:
            try:
                self._fd = os.open(final, os.O_RDONLY | os.O_CLOEXEC)
                self._whole = True
                break
            except FileNotFoundError:
                pass
            path = blobs.partial_path(self._store, digest)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                if os.path.samestat(os.fstat(fd), os.lstat(path)):
                    self._fd = fd
                    break
            except FileNotFoundError:
                pass
            # It was finished and moved while we waited.
            os.close(fd)
        self._there = min(os.fstat(self._fd).st_size, self._descriptor.size)

    def read(self, size: int = CHUNK) -> bytes:
        """Up to `size` bytes (more than 0), b"" at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        data = self._from_disk(size) if self._at < self._there else self._from_line(size)
        if data:
            self._hash.update(data)
            self._at += len(data)
            self._came(self._at)
        else:
            self._check()
        return data

    def reject(self) -> None:
        """What came can't be used. If that is so because it isn't what was asked for, RegistryError says it; it is dropped anyway."""
        try:
            if self._descriptor.size - self._at < _WORTH_READING:
                while self.read(CHUNK):
                    continue
        except Broken:
            return
        finally:
            self._drop()

    def _from_disk(self, size: int) -> bytes:
        data = os.pread(self._fd, min(size, self._there - self._at), self._at)
        if not data:
            raise RegistryError(f"the blob {self._descriptor.digest} got shorter while it was read")
        return data

    def _from_line(self, size: int) -> bytes:
        if self._whole or self._at >= self._descriptor.size:
            return b""
        while True:
            try:
                if self._answer is None:
                    self._answer = self._ask()
                data = self._answer.read(min(size, self._descriptor.size - self._at))
                if not data:
                    raise Broken(f"the blob {self._descriptor.digest} is cut short")
                self._measure(len(data))
            except Broken as error:
                self._hang_up()
                # What brought us a good deal further is a new start: a bad line that carries something gets there in the end.
                if self._at >= self._failed_at + CHUNK:
                    self._failures = 0
                if self._failures >= self._repository.transport.options.retries:
                    raise
                self._repository.transport.pause(self._failures, error.wait_s)
                self._failures += 1
                self._failed_at = self._at
                continue
            self._write(data)
            return data

    def _ask(self) -> Answer:
        answer = self._repository.blob(self._descriptor.digest, self._at, retry=False)
        size = answer.headers.get("Content-Length", "")
        if answer.status == 200 and size.isdigit() and int(size) != self._descriptor.size:
            answer.drop()
            self._drop()
            raise RegistryError(f"the blob {self._descriptor.digest} has the size {size}, the manifest says {self._descriptor.size}")
        if answer.status == 200 and self._at:
            self._skip(answer, self._at)
        elif answer.status == 206:
            wanted = f"bytes {self._at}-"
            given = answer.headers.get("Content-Range", "")
            if not given.startswith(wanted) or not given.endswith((f"/{self._descriptor.size}", "/*")):
                answer.drop()
                self._drop()
                raise RegistryError(f"the registry answers a question for {wanted} of {self._descriptor.size} with {given!r}")
        self._span = (time.monotonic(), 0)
        return answer

    def _skip(self, answer: Answer, count: int) -> None:
        """No ranges here: what is there already comes again."""
        while count:
            data = answer.read(min(CHUNK, count))
            if not data:
                raise Broken(f"the blob {self._descriptor.digest} is cut short")
            self.fetched += len(data)
            count -= len(data)

    def _measure(self, count: int) -> None:
        began, so_far = self._span
        now = time.monotonic()
        if now - began > _SPAN_S:
            if so_far + count < _LEAST_BYTES:
                raise Broken(f"the blob {self._descriptor.digest} comes too slowly: {so_far + count} bytes in {now - began:.0f} s")
            self._span = (now, 0)
        else:
            self._span = (began, so_far + count)

    def _write(self, data: bytes) -> None:
        self.fetched += len(data)
        view = memoryview(data)
        at = self._at
        try:
            while view:
                written = os.pwrite(self._fd, view, at)
                view, at = view[written:], at + written
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull("no space is left for a download", hint="free some space on the file system of the store") from error
            raise

    def _check(self) -> None:
        found = "sha256:" + self._hash.hexdigest()
        if found != self._descriptor.digest or self._at != self._descriptor.size:
            # Nothing of it can be used: the next try begins anew.
            self._drop()
            raise RegistryError(f"the blob {self._descriptor.digest} has another digest or size: {found}, {self._at} bytes")
        if not self._whole and os.fstat(self._fd).st_size > self._at:
            os.ftruncate(self._fd, self._at)

    def _drop(self) -> None:
        path = (blobs.path if self._whole else blobs.partial_path)(self._store, self._descriptor.digest)
        try:
            os.unlink(path)
        except FileNotFoundError:
            return

    def _hang_up(self) -> None:
        if self._answer is not None:
            self._answer.drop()
            self._answer = None


def _nobody(_count: int) -> None:
    return
