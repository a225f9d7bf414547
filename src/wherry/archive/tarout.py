"""Writing a tar archive to a descriptor, a pipe too: always the same bytes for the same members (no owners, no times)."""

from __future__ import annotations

import os

from wherry.errors import ArchiveError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.archive.streams import Readable

_CHUNK = 1 << 20
# What eleven octal digits hold.
_OCTAL_LIMIT = 1 << 33


class TarWriter:
    """Members in the order they are added; `finish` ends the archive. Names are ASCII and short. It does not own the descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def folder(self, name: str) -> None:
        self._write(_header(name + "/", 0, b"5", 0o755))

    def data(self, name: str, content: bytes) -> None:
        self._begin(name, len(content))
        self._write(content)
        self._pad(len(content))

    def stream(self, name: str, size: int, source: Readable) -> None:
        """Raises ArchiveError when the source isn't as long as was said."""
        self._begin(name, size)
        left = size
        while part := source.read(min(_CHUNK, left) if left else 1):
            if len(part) > left:
                raise ArchiveError(f"{name} is longer than {size} bytes")
            self._write(part)
            left -= len(part)
        if left:
            raise ArchiveError(f"{name} is shorter than {size} bytes")
        self._pad(size)

    def file(self, name: str, fd: int) -> None:
        """A regular file's content, copied by the kernel."""
        size = os.fstat(fd).st_size
        self._begin(name, size)
        copy_file(fd, self._fd, size)
        self._pad(size)

    def finish(self) -> None:
        self._write(bytes(1024))

    def _begin(self, name: str, size: int) -> None:
        if size >= _OCTAL_LIMIT:
            record = _record("size", str(size))
            self._write(_header("PaxHeaders/" + name.rpartition("/")[2], len(record), b"x", 0o644))
            self._write(record)
            self._pad(len(record))
        self._write(_header(name, size if size < _OCTAL_LIMIT else 0, b"0", 0o644))

    def _pad(self, size: int) -> None:
        if size % 512:
            self._write(bytes(512 - size % 512))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]


def _header(name: str, size: int, kind: bytes, mode: int) -> bytes:
    encoded = name.encode("ascii")
    if len(encoded) > 100:
        raise ArchiveError(f"the name of a member is too long: {name}")
    head = bytearray(512)
    head[0 : len(encoded)] = encoded
    head[100:108] = b"%07o\0" % mode
    head[108:116] = head[116:124] = b"0000000\0"
    head[124:136] = b"%011o\0" % size
    head[136:148] = b"00000000000\0"
    head[148:156] = b"        "
    head[156:157] = kind
    head[257:265] = b"ustar\00000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def _record(key: str, value: str) -> bytes:
    """A PAX record, whose length counts itself."""
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def copy_file(source: int, target: int, size: int) -> None:
    """Copy the first `size` bytes of a regular file to where `target` stands. Raises ArchiveError when it is shorter, OSError."""
    at = 0
    by_kernel = True
    while at < size:
        if by_kernel:
            try:
                count = os.sendfile(target, source, at, min(size - at, 1 << 30))
            except OSError:
                by_kernel = False
                continue
        else:
            data = os.pread(source, _CHUNK, at)
            count = os.write(target, data) if data else 0
        if not count:
            raise ArchiveError("a blob is shorter than it was")
        at += count
