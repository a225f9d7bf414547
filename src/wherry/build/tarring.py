"""A layer's tree → its tar, hashed, and the recipe with which `wherry-native pack` makes the same tar again.

The form is fixed: names sorted, times in whole seconds, no names of users; PAX records only for what ustar's fields can't hold.
The same tree gives the same bytes everywhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat

from wherry.build.rootfs import OWNER_XATTR

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 18
_ZEROS = re.compile(rb"\0{16,}")
_RECIPE_MAGIC = b"wherry-recipe 1\n"


class Packed:
    """`diff_id` is the tar's digest; `size_bytes` what the files hold."""

    def __init__(self, diff_id: str, size_bytes: int, entries: int, tar_bytes: int) -> None:
        self.diff_id = diff_id
        self.size_bytes = size_bytes
        self.entries = entries
        self.tar_bytes = tar_bytes


def pack(folder: str, recipe: str, *, exact: bool = False) -> Packed:
    """Hash the tar of a layer's tree and write its recipe to the new file `recipe`. `exact` keeps fractions of seconds. Raises OSError."""
    packer = _Packer(recipe, exact=exact)
    try:
        packer.tree(folder)
        return packer.finish()
    finally:
        packer.close()


def write(root: int, target: int, *, exact: bool = False) -> None:
    """Write the tar of an open root to a descriptor. Raises OSError."""
    packer = _Packer("/dev/null", target, exact=exact)
    try:
        packer.open_tree(root)
        packer.finish()
    finally:
        packer.close()


def write_entry(folder: int, name: str, shown: str, target: int, *, owner: tuple[int, int] | None = None) -> Packed:
    """Write the tar of one entry of an open folder, with all below it, under the name `shown`; "" gives a folder's content only.

    `owner` stands in place of the files' own. Raises OSError.
    """
    packer = _Packer("/dev/null", target, exact=True, owner=owner)
    try:
        packer.one(folder, name, shown)
        return packer.finish()
    finally:
        packer.close()


class _Out:
    """Takes what a hash takes, and writes it as well."""

    def __init__(self, fd: int) -> None:
        self._file = open(fd, "wb", buffering=1 << 18, closefd=False)

    def update(self, data: bytes) -> None:
        self._file.write(data)

    def hexdigest(self) -> str:
        self._file.flush()
        return ""


class _Packer:
    def __init__(self, recipe: str, target: int = -1, *, exact: bool = False, owner: tuple[int, int] | None = None) -> None:
        self._exact = exact
        self._given = owner
        self._hash = hashlib.sha256() if target < 0 else _Out(target)
        self._recipe = open(recipe, "xb" if target < 0 else "wb", buffering=1 << 18)
        self._recipe.write(_RECIPE_MAGIC)
        self._links: dict[tuple[int, int], str] = {}
        self._bytes = 0
        self._entries = 0
        self._tar_bytes = 0
        self._plain: list[bytes] = []

    def close(self) -> None:
        self._recipe.close()

    def finish(self) -> Packed:
        self._verbatim(bytes(1024))
        self._settle()
        self._recipe.flush()
        return Packed("sha256:" + self._hash.hexdigest(), self._bytes, self._entries, self._tar_bytes)

    # -- the two outputs -------------------------------------------------------------------------------------------------

    def _verbatim(self, data: bytes) -> None:
        self._hash.update(data)
        self._tar_bytes += len(data)
        self._plain.append(data)

    def _settle(self) -> None:
        """Write down what stands in no file: bytes, and runs of zeros as their length."""
        data = b"".join(self._plain)
        self._plain.clear()
        at = 0
        for run in _ZEROS.finditer(data):
            if run.start() > at:
                self._recipe.write(b"V" + _number(run.start() - at) + data[at : run.start()])
            self._recipe.write(b"Z" + _number(run.end() - run.start()))
            at = run.end()
        if at < len(data):
            self._recipe.write(b"V" + _number(len(data) - at) + data[at:])

    def _data(self, name: bytes, fd: int, size: int) -> None:
        self._settle()
        self._recipe.write(b"F" + _number(len(name)) + name + b"D" + _number(0) + _number(size))
        left = size
        while left:
            part = os.read(fd, min(left, _CHUNK))
            if not part:
                raise OSError(0, "it became shorter while it was read", os.fsdecode(name))
            self._hash.update(part)
            left -= len(part)
        self._tar_bytes += size
        self._bytes += size
        if size % 512:
            self._verbatim(bytes(512 - size % 512))

    # -- the tree --------------------------------------------------------------------------------------------------------

    def tree(self, folder: str) -> None:
        fd = os.open(folder, _FOLDER)
        try:
            self.open_tree(fd)
        finally:
            os.close(fd)

    def one(self, folder: int, name: str, shown: str) -> None:
        if shown:
            self._entry(folder, name, shown, False)
            return
        fd = os.open(name, _FOLDER, dir_fd=folder)
        try:
            self._inside(fd, "")
        finally:
            os.close(fd)

    def open_tree(self, fd: int) -> None:
        found = os.fstat(fd)
        uid, gid = _owner(fd, found)
        if (stat.S_IMODE(found.st_mode), uid, gid) != (0o755, 0, 0):
            # The root's own attributes are the layer's to say only where it changed them.
            self._header(b"./", b"5", found, uid, gid, 0)
        self._inside(fd, "")

    def _inside(self, fd: int, path: str) -> None:
        marked = _attribute(fd, "user.overlay.opaque")
        if marked == b"y":
            self._whiteout(f"{path}/.wh..wh..opq" if path else ".wh..wh..opq", os.fstat(fd))
        for name in sorted(os.listdir(fd), key=os.fsencode):
            self._entry(fd, name, f"{path}/{name}" if path else name, marked == b"x")

    def _whiteout(self, path: str, found: os.stat_result) -> None:
        self._header(os.fsencode(path), b"0", found, 0, 0, 0, mode=0o600)

    def _entry(self, at: int, name: str, path: str, marked: bool) -> None:
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFSOCK:
            return
        if kind == stat.S_IFCHR and found.st_rdev == 0:
            folder, _, base = path.rpartition("/")
            self._whiteout(f"{folder}/.wh.{base}" if folder else f".wh.{base}", found)
            return
        key = (found.st_dev, found.st_ino)
        raw = os.fsencode(path)
        if kind == stat.S_IFDIR:
            fd = os.open(name, _FOLDER, dir_fd=at)
            try:
                uid, gid = _owner(fd, found)
                self._header(raw + b"/", b"5", found, uid, gid, 0, attributes=_attributes(fd))
                self._inside(fd, path)
            finally:
                os.close(fd)
            return
        if found.st_nlink > 1 and key in self._links:
            self._header(raw, b"1", found, found.st_uid, found.st_gid, 0, link=os.fsencode(self._links[key]))
            return
        if found.st_nlink > 1:
            self._links[key] = path
        if kind == stat.S_IFREG:
            self._file(at, name, path, found, marked)
        elif kind == stat.S_IFLNK:
            self._header(raw, b"2", found, found.st_uid, found.st_gid, 0, link=os.fsencode(os.readlink(name, dir_fd=at)), mode=0o777)
        else:
            self._header(raw, {stat.S_IFCHR: b"3", stat.S_IFBLK: b"4"}.get(kind, b"6"), found, found.st_uid, found.st_gid, 0)

    def _file(self, at: int, name: str, path: str, found: os.stat_result, marked: bool) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        try:
            if marked and _attribute(fd, "user.overlay.whiteout") is not None:
                folder, _, base = path.rpartition("/")
                self._whiteout(f"{folder}/.wh.{base}" if folder else f".wh.{base}", found)
                return
            uid, gid = _owner(fd, found)
            self._header(os.fsencode(path), b"0", found, uid, gid, found.st_size, attributes=_attributes(fd))
            if found.st_size:
                self._data(os.fsencode(path), fd, found.st_size)
        finally:
            os.close(fd)

    # -- headers ---------------------------------------------------------------------------------------------------------

    def _header(
        self,
        name: bytes,
        kind: bytes,
        found: os.stat_result,
        uid: int,
        gid: int,
        size: int,
        *,
        link: bytes = b"",
        mode: int = -1,
        attributes: dict[str, bytes] | None = None,
    ) -> None:
        self._entries += 1
        extra: dict[str, bytes] = {}
        for key, value in (attributes or {}).items():
            extra["SCHILY.xattr." + key] = value
        prefix, base = _split(name)
        if prefix is None:
            extra["path"] = name
            prefix, base = b"", name[:100]
        if len(link) > 100:
            extra["linkpath"] = link
        seconds = max(0, int(found.st_mtime_ns // 1_000_000_000))
        if self._given is not None:
            uid, gid = self._given
        rest = found.st_mtime_ns % 1_000_000_000
        if self._exact and rest:
            extra["mtime"] = (b"%d.%09d" % (found.st_mtime_ns // 1_000_000_000, rest)).rstrip(b"0")
        for key, number, most in (("uid", uid, 1 << 21), ("gid", gid, 1 << 21), ("size", size, 1 << 33), ("mtime", seconds, 1 << 33)):
            if number >= most and key not in extra:
                extra[key] = str(number).encode()
        if extra:
            body = b"".join(_pax(key, value) for key, value in sorted(extra.items()))
            self._verbatim(_ustar(b"PaxHeaders.0/" + base[-80:].strip(b"/"), b"x", 0o644, 0, 0, len(body), 0))
            self._verbatim(body + bytes(-len(body) % 512))
        device = (os.major(found.st_rdev), os.minor(found.st_rdev)) if kind in b"34" else (0, 0)
        permissions = stat.S_IMODE(found.st_mode) if mode < 0 else mode
        self._verbatim(_ustar(base, kind, permissions, uid, gid, size, seconds, link[:100], prefix, device))


def _number(value: int) -> bytes:
    """LEB128."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _split(name: bytes) -> tuple[bytes | None, bytes]:
    """ustar's prefix and name; (None, …) for one that doesn't fit."""
    if not name.isascii():
        return None, name
    if len(name) <= 100:
        return b"", name
    at = name.rfind(b"/", 0, 156)
    while at > 0:
        if len(name) - at - 1 <= 100 and len(name) > at + 1:
            return name[:at], name[at + 1 :]
        at = name.rfind(b"/", 0, at) if len(name) - at - 1 < 100 else -1
    return None, name


def _pax(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    size = len(body)
    while size != len(str(size)) + len(body):
        size = len(str(size)) + len(body)
    return str(size).encode() + body


def _octal(value: int, width: int) -> bytes:
    most = 8 ** (width - 1)
    return b"%0*o\0" % (width - 1, value if value < most else 0)


def _ustar(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes = b"",
    prefix: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    head = b"".join(
        (
            name.ljust(100, b"\0"),
            _octal(mode, 8),
            _octal(uid, 8),
            _octal(gid, 8),
            _octal(size, 12),
            _octal(mtime, 12),
            b" " * 8,
            kind,
            link.ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),
            _octal(device[0], 8),
            _octal(device[1], 8),
            prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def _attribute(fd: int, name: str) -> bytes | None:
    try:
        return os.getxattr(fd, name)
    except OSError:
        return None


def _attributes(fd: int) -> dict[str, bytes]:
    """Capabilities and the user's own attributes; none of overlayfs's or ours."""
    found = {}
    for name in os.listxattr(fd):
        if name == "security.capability" or name.startswith("user.") and not name.startswith(("user.overlay.", "user.wherry.")):
            value = _attribute(fd, name)
            if value is not None:
                found[name] = value
    return found


def _owner(fd: int, found: os.stat_result) -> tuple[int, int]:
    """The owner that an entry is to have: where there is one id only, it is kept beside it."""
    kept = _attribute(fd, OWNER_XATTR)
    if kept:
        uid, _, gid = kept.decode("ascii", "replace").partition(":")
        if uid.isdigit() and gid.isdigit():
            return int(uid), int(gid)
    return found.st_uid, found.st_gid
