"""Streams of bytes that come in: plain, gzip, zstd, bzip2 or xz, told apart by their first bytes; hashed while they pass."""

from __future__ import annotations

import os

from wherry.errors import ArchiveError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    class Readable(Protocol):
        def read(self, size: int = -1, /) -> bytes: ...


CHUNK = 1 << 18
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"))


def compression_of(head: bytes) -> str:
    """ "gzip", "zstd", "bzip2", "xz", or "" for anything else."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return ""


class Peeked:
    """A readable whose first bytes can be looked at without taking them."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._head = b""

    def peek(self, size: int) -> bytes:
        while len(self._head) < size:
            more = self._source.read(size - len(self._head))
            if not more:
                break
            self._head += more
        return self._head[:size]

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._source.read(size)
        if size < 0:
            data, self._head = self._head + self._source.read(), b""
            return data
        data, self._head = self._head[:size], self._head[size:]
        return data


class FdReader:
    """A descriptor as a readable. It does not own it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, size: int = -1) -> bytes:
        if size >= 0:
            return os.read(self._fd, size)
        parts = []
        while part := os.read(self._fd, CHUNK):
            parts.append(part)
        return b"".join(parts)


def plain(source: Readable) -> Peeked:
    """`source` decompressed, if it is compressed. Raises ArchiveError when reading meets damage."""
    peeked = Peeked(source)
    kind = compression_of(peeked.peek(6))
    return Peeked(_Decompressed(peeked, kind)) if kind else peeked


class _Decompressed:
    def __init__(self, source: Peeked, kind: str) -> None:
        self._kind = kind
        self._pieces = self._decompress(source, kind)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            data, self._rest = self._rest + b"".join(self._pieces), b""
            return data
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _decompress(self, source: Peeked, kind: str) -> Iterator[bytes]:
        try:
            yield from _MAKERS[kind](source)
        except (OSError, EOFError, ValueError) as error:
            raise ArchiveError(f"the {kind} stream is damaged: {error}") from error
        except Exception as error:
            # zlib.error, isal's and zstandard's own: none of them derives from a common base.
            if type(error).__module__.partition(".")[0] in ("zlib", "isal", "igzip_lib", "isal_zlib", "zstandard", "_lzma", "zstd"):
                raise ArchiveError(f"the {kind} stream is damaged: {error}") from error
            raise


def _gzip(source: Peeked) -> Iterator[bytes]:
    """Members one behind the other, as gzip(1) reads them; ISA-L when it is there, two to three times as fast."""
    zlib_like = _zlib_like()
    data = source.read(CHUNK)
    while data:
        decoder = zlib_like.decompressobj(wbits=31)
        while not decoder.eof:
            if not data:
                raise ArchiveError("the gzip stream is cut short")
            piece = decoder.decompress(data)
            if piece:
                yield piece
            data = decoder.unused_data if decoder.eof else source.read(CHUNK)
        if not data:
            data = source.read(CHUNK)
        if not data.strip(b"\0"):
            return  # zeros behind the last member are padding


def _zlib_like() -> Any:
    try:
        from isal import isal_zlib

        return isal_zlib
    except ImportError:
        import zlib

        return zlib


def _zstd(source: Peeked) -> Iterator[bytes]:
    import zstandard

    reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)  # type: ignore[arg-type]
    while piece := reader.read(CHUNK):
        yield piece


def _bzip2(source: Peeked) -> Iterator[bytes]:
    import bz2

    decoder = bz2.BZ2Decompressor()
    while data := source.read(CHUNK):
        if decoder.eof:
            decoder = bz2.BZ2Decompressor()
        yield decoder.decompress(data)
    if not decoder.eof:
        raise ArchiveError("the bzip2 stream is cut short")


def _xz(source: Peeked) -> Iterator[bytes]:
    import lzma

    decoder = lzma.LZMADecompressor()
    while data := source.read(CHUNK):
        if decoder.eof:
            break
        yield decoder.decompress(data)
    if not decoder.eof:
        raise ArchiveError("the xz stream is cut short")


_MAKERS: dict[str, Callable[[Peeked], Iterator[bytes]]] = {"gzip": _gzip, "zstd": _zstd, "bzip2": _bzip2, "xz": _xz}


class Hashed:
    """A readable that computes the sha256 and the size of what is read through it."""

    def __init__(self, source: Readable) -> None:
        import hashlib

        self._source = source
        self._hash: Any = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        self.size += len(data)
        return data

    @property
    def digest(self) -> str:
        return "sha256:" + str(self._hash.hexdigest())


def copy_to_fd(source: Readable, fd: int) -> None:
    """Write all of `source` to a descriptor."""
    while data := source.read(CHUNK):
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


def drain(source: Readable) -> None:
    while source.read(CHUNK):
        continue
