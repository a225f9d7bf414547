"""Where the members of an image archive lie: names, kinds, offsets and sizes of a seekable tar, and nothing else.

`tarfile` reads a header's extension of any size into memory, which lets a small compressed archive take all of it, and raises
errors of many kinds for damage. Layers are not read here but by the native unpacker.
"""

from __future__ import annotations

from wherry.errors import ArchiveError
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLOCK = 512
_META_LIMIT = 1 << 20
_MEMBERS_LIMIT = 100_000


class Member(Record):
    """`kind` is "file", "hard", "symbolic" or "other"; `target` is a link's, `start` the offset of a file's data."""

    kind: str
    target: str
    start: int
    size: int


_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"1": "hard", b"2": "symbolic"}
_DATALESS = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))


def read(file: Any) -> dict[str, Member]:
    """Members by name (no leading "./", no trailing "/"); a later one hides an earlier. Raises ArchiveError."""
    found: dict[str, Member] = {}
    at = 0
    said: dict[str, bytes] = {}
    file.seek(0, 2)
    end = file.tell()
    while at + _BLOCK <= end:
        header = _bytes(file, at, _BLOCK)
        at += _BLOCK
        if not any(header):
            break
        if not _is_sound(header):
            raise ArchiveError("the archive is no tar file, or a damaged one")
        kind = header[156:157]
        size = 0 if kind in _DATALESS else _number(header[124:136])
        if kind in (b"x", b"X", b"L", b"K", b"g"):
            if size > _META_LIMIT:
                raise ArchiveError("the archive has a header larger than any name needs")
            data = _bytes(file, at, size)
            if kind in (b"x", b"X"):
                said.update(_records(data))
            elif kind != b"g":
                said["path" if kind == b"L" else "linkpath"] = data.rstrip(b"\0")
        else:
            if "size" in said and kind not in _DATALESS:
                size = _decimal(said["size"])
            if at + size > end:
                raise ArchiveError("the archive is cut short")
            if len(found) == _MEMBERS_LIMIT:
                raise ArchiveError(f"the archive has more than {_MEMBERS_LIMIT} members: it is no image archive")
            name = said.get("path") or _name(header)
            # A sparse file's stored bytes are not its data.
            sparse = any(key.startswith("GNU.sparse.") for key in said)
            target = said.get("linkpath") or header[157:257].partition(b"\0")[0]
            found[plain_name(_text(name))] = Member("other" if sparse else _KINDS.get(kind, "other"), _text(target), at, size)
            said = {}
        at += size + -size % _BLOCK
    else:
        if said or at < end:
            raise ArchiveError("the archive is cut short")
    return found


def plain_name(name: str) -> str:
    return name.removeprefix("./").rstrip("/")


def _bytes(file: Any, at: int, size: int) -> bytes:
    file.seek(at)
    data: bytes = file.read(size)
    if len(data) != size:
        raise ArchiveError("the archive is cut short")
    return data


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _is_sound(header: bytes) -> bool:
    try:
        wanted = _number(header[148:156])
    except ArchiveError:
        return False
    return wanted == sum(header[:148]) + 8 * 32 + sum(header[156:])


def _number(field: bytes) -> int:
    """Octal, or base 256 with the top bit set."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.strip(b" \0").partition(b"\0")[0].partition(b" ")[0]
    if any(c not in b"01234567" for c in text):
        raise ArchiveError("the archive has a malformed number")
    return int(text or b"0", 8)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise ArchiveError("the archive has a malformed number")
    return int(text)


def _records(data: bytes) -> dict[str, bytes]:
    """ "LENGTH KEY=VALUE\\n" after each other."""
    found = {}
    while data:
        length_text, blank, _ = data[:12].partition(b" ")
        length = _decimal(length_text) if blank else 0
        key, equals, value = data[len(length_text) + 1 : length].partition(b"=")
        if length > len(data) or not equals or value[-1:] != b"\n":
            raise ArchiveError("the archive has a malformed header")
        found[_text(key)] = value[:-1]
        data = data[length:]
    return found
