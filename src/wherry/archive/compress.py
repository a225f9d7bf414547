"""Compressing tars of layers: the same bytes from the same tar, on all cores."""

from __future__ import annotations

import os

from wherry.errors import HostError, InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.archive.streams import Readable

# The compressed bytes depend on where blocks end, so they end where we say.
_BLOCK = 1 << 20
FORMATS = ("gzip", "zstd", "uncompressed")


def checked_format(name: str) -> str:
    """A format by its name on the command line, "" for the usual one. Raises InvalidArgument, Unsupported."""
    if name in ("zstd:chunked", "estargz"):
        raise Unsupported(f"{name} is not supported yet", hint="use zstd, which readers of zstd:chunked take as well")
    if name and name not in FORMATS:
        raise InvalidArgument(f"unknown compression format {name!r}: it is one of {', '.join(FORMATS)}")
    return name


class _Sink:
    """Writes to a descriptor and computes the digest and size of what it writes."""

    def __init__(self, fd: int) -> None:
        import hashlib

        self._fd = fd
        self._hash: Any = hashlib.sha256()
        self.size = 0
        self.given_up = False

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if self.given_up:
            # The threads of a writer that an error left behind: the descriptor may be somebody else's by now.
            return view.nbytes
        self._hash.update(view)
        self.size += view.nbytes
        while view:
            view = view[os.write(self._fd, view) :]
        return memoryview(data).nbytes

    def flush(self) -> None:
        return

    @property
    def digest(self) -> str:
        return "sha256:" + str(self._hash.hexdigest())


def compress(source: Readable, fd: int, form: str, level: int | None = None) -> tuple[str, int]:
    """Write `source` compressed to a descriptor. Returns the digest and the size of what was written. Raises InvalidArgument (level)."""
    sink = _Sink(fd)
    writer = _writer(sink, form, level)
    try:
        while block := _block(source):
            writer.write(block)
    except BaseException:
        sink.given_up = True
        raise
    finally:
        if writer is not sink:
            writer.close()
    return sink.digest, sink.size


def _block(source: Readable) -> bytes:
    data = bytearray()
    while len(data) < _BLOCK and (part := source.read(_BLOCK - len(data))):
        data += part
    return bytes(data)


def _writer(sink: _Sink, form: str, level: int | None) -> Any:
    if form == "uncompressed":
        return sink
    if form == "zstd":
        return _zstd(sink, level)
    if level is not None and not 0 <= level <= 9:
        raise InvalidArgument(f"invalid compression level {level}: gzip has 0 to 9")
    if level is None or level <= 3:
        try:
            from isal import igzip_threaded

            opened: Any = igzip_threaded.open
            return opened(sink, "wb", compresslevel=1 if level is None else level, threads=max(1, os.cpu_count() or 1), block_size=_BLOCK)
        except ImportError:
            level = 1 if level is None else level
    return _Zlib(sink, level)


class _Zlib:
    def __init__(self, sink: _Sink, level: int) -> None:
        import zlib

        self._sink = sink
        self._encoder = zlib.compressobj(level, zlib.DEFLATED, 31)

    def write(self, data: bytes) -> None:
        self._sink.write(self._encoder.compress(data))

    def close(self) -> None:
        self._sink.write(self._encoder.flush())


def _zstd(sink: _Sink, level: int | None) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise HostError(f"compressing with zstd needs the Python package zstandard: {error}", hint="pip install zstandard") from error
    if level is not None and not 1 <= level <= 22:
        raise InvalidArgument(f"invalid compression level {level}: zstd has 1 to 22")
    encoder = zstandard.ZstdCompressor(level=3 if level is None else level, threads=0)
    return encoder.stream_writer(sink, closefd=False)  # type: ignore[arg-type]
