"""Hostile images: the small root file system with members of the test's own put over it, imported as an image."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from .engine import Wherry

MakeImage = Callable[..., str]


class Member(NamedTuple):
    name: str
    kind: bytes = tarfile.REGTYPE
    data: bytes = b""
    link: str = ""
    mode: int = 0o755


def link(name: str, target: str) -> Member:
    return Member(name, tarfile.SYMTYPE, link=target)


def folder(name: str, mode: int = 0o755) -> Member:
    return Member(name, tarfile.DIRTYPE, mode=mode)


def fifo(name: str) -> Member:
    return Member(name, tarfile.FIFOTYPE)


def file(name: str, data: str | bytes = "", mode: int = 0o755) -> Member:
    return Member(name, data=data.encode() if isinstance(data, str) else data, mode=mode)


def image(w: Wherry, rootfs: Path, name: str, members: Iterable[Member], changes: Iterable[str] = ()) -> str:
    """Import an image and return its name. Members of the root file system that have a member's name, or lie below it, are left out."""
    members = [*members, file("only-in-the-image", "yes\n")]
    replaced = {m.name for m in members}
    path = w.folder("hostile") / "image.tar"
    with tarfile.open(rootfs) as source, tarfile.open(path, "w") as target:
        for entry in source:
            parents = {entry.name, *map(str, Path(entry.name).parents)}
            if not parents & replaced:
                target.addfile(entry, source.extractfile(entry) if entry.isreg() else None)
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.linkname, info.mode, info.size = member.kind, member.link, member.mode, len(member.data)
            target.addfile(info, io.BytesIO(member.data))
    path.chmod(0o644)
    words = [word for change in changes for word in ("-c", change)]
    w.ok("import", *words, path, name)
    return name
