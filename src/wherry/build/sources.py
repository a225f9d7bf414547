"""What COPY takes out of a mounted root (another stage, an image): patterns resolved inside it, walks, digests of contents."""

from __future__ import annotations

import hashlib
import os
import stat

from wherry.build import patterns
from wherry.build.copying import CopyError, Source
from wherry.build.ignore import Ignore
from wherry.build.rootfs import OWNER_XATTR, RootFs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 18


def walker(exclude: Ignore | None) -> object:
    """A `names` for Source: what is in a folder of a mounted root, without what is left out."""

    def names(path: str, fd: int) -> list[str]:
        found = sorted(os.listdir(fd))
        if exclude is None:
            return found
        return [n for n in found if not _left_out(exclude, f"{path}/{n}" if path else n, fd, n)]

    return names


def _left_out(exclude: Ignore, path: str, fd: int, name: str) -> bool:
    if not exclude.matches(path):
        return False
    if exclude.prunes(path):
        return True
    return not stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)


def matches(root: RootFs, pattern: str) -> list[str]:
    """The paths that a source means, without a leading slash: a path as it is, a pattern's matches sorted. ** spans folders."""
    parts = [p for p in pattern.split("/") if p not in ("", ".")]
    clean: list[str] = []
    for part in parts:
        # Like everywhere above a root: its parent is itself.
        if part == "..":
            clean[-1:] = []
        else:
            clean.append(part)
    if not any(patterns.is_glob(part) for part in clean):
        return ["/".join(clean)]
    return sorted(set(_globbed(root, "", clean)))


def _globbed(root: RootFs, base: str, parts: list[str]) -> Iterator[str]:
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        if rest:
            yield from _globbed(root, base, rest)
        for name, folder in _listed(root, base):
            path = f"{base}/{name}" if base else name
            if not rest:
                yield path
            elif folder:
                yield from _globbed(root, path, parts)
        return
    if not patterns.is_glob(part):
        path = f"{base}/{part}" if base else part
        if root.lookup(path, follow=bool(rest)) is not None:
            yield from _globbed(root, path, rest)
        return
    for name, _folder in _listed(root, base):
        if patterns.match(part, name):
            yield from _globbed(root, f"{base}/{name}" if base else name, rest)


def _listed(root: RootFs, path: str) -> list[tuple[str, bool]]:
    try:
        fd = root.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        return [(n, stat.S_ISDIR(os.stat(n, dir_fd=fd, follow_symlinks=False).st_mode)) for n in sorted(os.listdir(fd))]
    finally:
        os.close(fd)


class Found:
    """A source, opened: `path` is where it really lies, links followed. A context manager over its folder's descriptor."""

    def __init__(self, root: RootFs, path: str, shown: str) -> None:
        try:
            self.path = root.resolved("/" + path)
        except FileNotFoundError:
            raise CopyError(f'"/{shown or path}": not found') from None
        folder, self.name = os.path.split(self.path)
        self.fd = root.open("/" + folder, os.O_RDONLY | os.O_DIRECTORY)
        self.name = self.name or "."

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self.fd)

    def source(self, shown: str, exclude: Ignore | None) -> Source:
        return Source(self.fd, self.name, shown, walker(exclude), keep_owners=True)  # type: ignore[arg-type]


def digest(root: RootFs, chosen: list[str], exclude: Ignore | None) -> str:
    """A digest of everything the sources mean: names, kinds, modes, owners, sizes, contents; never times."""
    total = hashlib.sha256()
    for pattern in chosen:
        for path in matches(root, pattern):
            with Found(root, path, path) as found:
                _put(total, "source", os.path.basename(path))
                _digest(total, root, found.fd, found.name, "", exclude)
    return total.hexdigest()


def _put(total: hashlib._Hash, *fields: str | int | bytes) -> None:
    for field in fields:
        data = field if isinstance(field, bytes) else os.fsencode(str(field))
        total.update(len(data).to_bytes(4, "little") + data)


def _digest(total: hashlib._Hash, root: RootFs, at: int, name: str, path: str, exclude: Ignore | None) -> None:
    found = os.stat(name, dir_fd=at, follow_symlinks=False)
    kind = stat.S_IFMT(found.st_mode)
    _put(total, path, found.st_mode, found.st_uid, found.st_gid)
    if kind == stat.S_IFLNK:
        _put(total, os.readlink(name, dir_fd=at))
        return
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        _put(total, found.st_rdev)
        return
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        return
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_DIRECTORY if kind == stat.S_IFDIR else 0)
    fd = os.open(name, flags, dir_fd=at)
    try:
        for attribute in sorted(os.listxattr(fd)):
            if attribute in ("security.capability", OWNER_XATTR) or attribute.startswith("user.") and "overlay" not in attribute:
                _put(total, attribute, os.getxattr(fd, attribute))
        if kind == stat.S_IFDIR:
            for child in walker(exclude)(path, fd):  # type: ignore[operator]
                _digest(total, root, fd, child, f"{path}/{child}" if path else child, exclude)
            return
        _put(total, found.st_size)
        while data := os.read(fd, _CHUNK):
            total.update(data)
    finally:
        os.close(fd)
