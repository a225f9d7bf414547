"""The build context: a folder seen through .dockerignore, listed as far as somebody asks, hashed once as long as nothing changes.

A file's digest is kept with its inode, size and times; it is read again only when one of them differs. Times are no part of what
a digest is of, so a checkout that touches everything costs reading, but no step.
"""

from __future__ import annotations

import binascii
import hashlib
import marshal
import os
import stat
import time

from wherry.build import patterns
from wherry.build.ignore import Ignore
from wherry.errors import BuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_CHUNK = 1 << 18
_MAX_LINKS = 40
# A file that changed less than this before it was read may change again without its times telling (the kernel's clock ticks
# every 4 ms, some file systems' every 10).
_SETTLED_NS = 50_000_000


class Entry:
    """Something in the context. `children` None until somebody asks; only of folders."""

    __slots__ = ("children", "name", "status")

    def __init__(self, name: str, status: os.stat_result) -> None:
        self.name = name
        self.status = status
        self.children: dict[str, Entry] | None = None

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)


class Match:
    """A source that was found: `path` where it lies, links followed, `shown` as the pattern named it."""

    def __init__(self, path: str, shown: str, entry: Entry) -> None:
        self.path = path
        self.shown = shown
        self.entry = entry


class Context:
    """A folder of the host. `hashes` is the file in which digests are kept from build to build ("": nowhere)."""

    def __init__(self, path: str, ignore: Ignore, hashes: str) -> None:
        self.path = os.path.abspath(path)
        self.ignore = ignore
        self.ignored_some = False
        try:
            self._root = Entry("", os.stat(self.path))
        except OSError as error:
            raise BuildError(f"unable to prepare context: path {path!r}: {os.strerror(error.errno or 0).lower()}") from error
        if not self._root.is_folder:
            raise BuildError(f"unable to prepare context: path {path!r} is not a folder")
        self._hashes = Hashes(hashes)

    def save(self) -> None:
        """Keep the digests for the next build."""
        self._hashes.save()

    # -- listing ---------------------------------------------------------------------------------------------------------

    def children(self, entry: Entry, path: str) -> dict[str, Entry]:
        """What is in a folder and not left out, by name, sorted."""
        if entry.children is None:
            entry.children = self._listed(path)
        return entry.children

    def _listed(self, path: str) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        try:
            with os.scandir(f"{self.path}/{path}" if path else self.path) as listing:
                entries = sorted(listing, key=lambda e: e.name)
        except OSError as error:
            raise BuildError(f"error from sender: open {self.path}/{path}: {os.strerror(error.errno or 0).lower()}") from error
        all_in = self.ignore.empty
        for item in entries:
            try:
                status = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFSOCK:
                continue
            entry = Entry(item.name, status)
            if all_in or self._is_in(entry, f"{path}/{item.name}" if path else item.name):
                found[item.name] = entry
        return found

    def _is_in(self, entry: Entry, path: str) -> bool:
        if not self.ignore.matches(path):
            return True
        self.ignored_some = True
        # A folder that is left out is still there for what comes back below it.
        return entry.is_folder and not self.ignore.prunes(path) and bool(self.children(entry, path))

    def is_ignored(self, path: str) -> bool:
        """Whether something that is there is hidden by .dockerignore: for the message."""
        return self.ignore.matches(path) and os.path.lexists(f"{self.path}/{path}")

    def newest_s(self) -> int:
        """The newest time of a file, in whole seconds since 1970; 0 for none."""
        newest = 0
        todo = [(self._root, "")]
        while todo:
            entry, path = todo.pop()
            for name, child in self.children(entry, path).items():
                if child.is_folder:
                    todo.append((child, f"{path}/{name}" if path else name))
                else:
                    newest = max(newest, int(child.status.st_mtime))
        return newest

    # -- sources ---------------------------------------------------------------------------------------------------------

    def matches(self, pattern: str) -> list[Match]:
        """What a source of COPY means. Raises BuildError when a path without a pattern is not there."""
        parts: list[str] = []
        for part in pattern.split("/"):
            # Nothing lies above a context: its parent is itself.
            if part == "..":
                parts[-1:] = []
            elif part not in ("", ".") and not (part == "**" and parts[-1:] == ["**"]):
                parts.append(part)
        if not any(patterns.is_glob(part) for part in parts):
            path = "/".join(parts)
            found = self._followed(path, path)
            if found is None:
                hint = "it is there, and .dockerignore leaves it out" if self.is_ignored(path) else ""
                raise BuildError(f'failed to compute cache key: "/{path}": not found', hint=hint)
            return [found]
        names = sorted(set(self._globbed(self._root, "", parts)))
        return [found for found in (self._followed(name, name) for name in names) if found is not None]

    def _globbed(self, entry: Entry, base: str, parts: list[str]) -> Iterator[str]:
        if not parts:
            yield base
            return
        part, rest = parts[0], parts[1:]
        found = self._followed(base, base) if entry.is_link else Match(base, base, entry)
        if found is None or not found.entry.is_folder:
            return
        if part == "**":
            if rest:
                yield from self._globbed(entry, base, rest)
            for name, child in self.children(found.entry, found.path).items():
                path = f"{base}/{name}" if base else name
                if not rest:
                    yield path
                elif child.is_folder:
                    yield from self._globbed(child, path, parts)
            return
        for name, child in self.children(found.entry, found.path).items():
            if part == name or patterns.is_glob(part) and patterns.match(part, name):
                yield from self._globbed(child, f"{base}/{name}" if base else name, rest)

    def _followed(self, path: str, shown: str) -> Match | None:
        """`path` with all links followed inside the context; None when it leads to nothing."""
        todo = [p for p in path.split("/") if p]
        done: list[tuple[str, Entry]] = []
        links = 0
        while todo:
            part = todo.pop(0)
            if part == ".":
                continue
            if part == "..":
                done[-1:] = []
                continue
            base = done[-1][0] if done else ""
            entry = self.children(done[-1][1] if done else self._root, base).get(part)
            if entry is None:
                return None
            here = f"{base}/{part}" if base else part
            if entry.is_link:
                links += 1
                if links > _MAX_LINKS:
                    return None
                target = os.readlink(f"{self.path}/{here}")
                if target.startswith("/"):
                    done = []
                todo = [p for p in target.split("/") if p] + todo
                continue
            if todo and not entry.is_folder:
                return None
            done.append((here, entry))
        return Match(done[-1][0], shown, done[-1][1]) if done else Match("", shown, self._root)

    def listing(self, match: Match, exclude: Ignore | None) -> dict[str, Any]:
        """The names below a folder, nested: what the worker copies."""
        return self._nested(match.entry, match.path, "", exclude) if match.entry.is_folder else {}

    def _nested(self, entry: Entry, path: str, inner: str, exclude: Ignore | None) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, child in self.children(entry, path).items():
            below = f"{inner}/{name}" if inner else name
            if exclude is not None and exclude.matches(below) and (not child.is_folder or exclude.prunes(below)):
                continue
            found[name] = self._nested(child, f"{path}/{name}" if path else name, below, exclude) if child.is_folder else 0
        return found

    def hidden(self, folder: str) -> list[str]:
        """Paths below `folder` that .dockerignore leaves out, the topmost of each, relative to it."""
        found: list[str] = []
        todo = [folder]
        while todo:
            at = todo.pop()
            there = self._listed(at)
            for name in sorted(os.listdir(f"{self.path}/{at}" if at else self.path)):
                path = f"{at}/{name}" if at else name
                if name not in there:
                    found.append(os.path.relpath(path, folder) if folder else path)
                elif there[name].is_folder:
                    todo.append(path)
        return found

    # -- digests ---------------------------------------------------------------------------------------------------------

    def digest(self, match: Match, exclude: Ignore | None) -> str:
        """A digest of what a source holds: names, kinds, modes, contents."""
        total = hashlib.sha256()
        if not match.entry.is_folder:
            total.update(os.fsencode(os.path.basename(match.shown)) + b"\0")
        self._digest(total, match.entry, match.path, "", exclude)
        return total.hexdigest()

    def _digest(self, total: hashlib._Hash, entry: Entry, path: str, inner: str, exclude: Ignore | None) -> None:
        mode = entry.status.st_mode
        if entry.is_folder:
            # What is copied of the folder itself is what is in it.
            total.update(b"d %o %s\0" % (mode if inner else 0o40755, os.fsencode(inner)))
            for name, child in self.children(entry, path).items():
                below = f"{inner}/{name}" if inner else name
                if exclude is not None and exclude.matches(below) and (not child.is_folder or exclude.prunes(below)):
                    continue
                self._digest(total, child, f"{path}/{name}" if path else name, below, exclude)
        elif entry.is_link:
            total.update(b"l %s\0%s\0" % (os.fsencode(inner), os.fsencode(os.readlink(f"{self.path}/{path}"))))
        elif stat.S_ISREG(mode):
            total.update(b"f %o %s\0" % (mode, os.fsencode(inner)) + self._hashes.of(f"{self.path}/{path}", entry.status))
        else:
            total.update(b"s %o %s %d\0" % (mode, os.fsencode(inner), entry.status.st_rdev))

    def file_digest(self, match: Match) -> str:
        """sha256 of one file."""
        return self._hashes.of(f"{self.path}/{match.path}", match.entry.status).hex()


class Hashes:
    """Digests of files by path, good as long as inode, size and both times stay."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: dict[str, tuple[int, int, int, int, bytes]] = {}
        self._fresh: dict[str, tuple[int, int, int, int, bytes]] = {}
        self._read_some = False
        self._loaded = not path

    def _load(self) -> None:
        self._loaded = True
        try:
            with open(self._path, "rb") as file:
                data = file.read()
            check, data = data[:4], data[4:]
            if check == binascii.crc32(data).to_bytes(4, "little"):
                self._known = marshal.loads(data)
        except (OSError, ValueError, EOFError, TypeError):
            # Missing, of another Python, or torn by a power cut: the files are read again.
            self._known = {}

    def of(self, path: str, status: os.stat_result) -> bytes:
        if not self._loaded:
            self._load()
        identity = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._fresh.get(path) or self._known.get(path)
        if known is not None and known[:4] == identity:
            self._fresh[path] = known
            return known[4]
        started = time.time_ns()
        digest = _file_digest(path)
        self._read_some = True
        if started - status.st_ctime_ns > _SETTLED_NS and started - status.st_mtime_ns > _SETTLED_NS:
            self._fresh[path] = (*identity, digest)
        return digest

    def save(self) -> None:
        """Write what is known down, unless nothing was read. Two builds at once: the last one's is as good as the other's."""
        if not self._path or not self._read_some:
            return
        data = marshal.dumps({**self._known, **self._fresh} if len(self._known) < 3 * len(self._fresh) + 1000 else self._fresh)
        staged = f"{self._path}.{os.getpid()}"
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        with open(staged, "wb") as file:
            file.write(binascii.crc32(data).to_bytes(4, "little") + data)
        os.replace(staged, self._path)


def _file_digest(path: str) -> bytes:
    total = hashlib.sha256()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BuildError(f"error from sender: open {path}: {os.strerror(error.errno or 0).lower()}") from error
    try:
        while data := os.read(fd, _CHUNK):
            total.update(data)
    finally:
        os.close(fd)
    return total.digest()
