"""`copy` and `add` of a working container: what COPY and ADD of a Dockerfile do, with the caller's folder as context."""

from __future__ import annotations

import hashlib
import os
import shutil

from wherry.build import git
from wherry.build.context import Context
from wherry.build.fetch import Fetcher
from wherry.build.ignore import Ignore
from wherry.build.takes import is_archive
from wherry.build.workers import Worker
from wherry.engine import trees
from wherry.errors import BuildError, NotFound
from wherry.model.record import Record
from wherry.store import containers, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine
    from wherry.engine.working import Working


class CopyWishes(Record):
    """`add`: archives are unpacked and URLs fetched. `from_`: an image or a working container to copy from."""

    add: bool = False
    chown: str = ""
    chmod: str = ""
    from_: str = ""
    contextdir: str = ""
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


def copy(engine: Engine, working: Working, sources: list[str], destination: str, wishes: CopyWishes) -> str:
    """Copy into it. Returns the digest of what was copied. Raises BuildError, NotFound."""
    store = engine.store
    home = working.config.get("WorkingDir") or "/"
    target = os.path.normpath(os.path.join("/", home, destination or "."))
    if destination.endswith("/") or len(sources) > 1 or not destination:
        target = target.rstrip("/") + "/"
    scratch = store.staging("fetched")
    os.mkdir(scratch, 0o700)
    try:
        digests: list[str] = []
        actions = _actions(engine, sources, target, wishes, scratch, digests)
        with working._apart(), Worker() as worker:
            its = trees.of(store, working.row)
            mnt = store.staging("trees")
            os.makedirs(mnt + "/mnt", 0o700)
            try:
                root = {"lowers": list(its.lowers), "upper": its.upper, "work": its.work, "mnt": mnt + "/mnt"}
                worker.do({"do": "copy-into", "folder": mnt, **root, "actions": actions})
                return hashlib.sha256("\n".join(digests).encode("utf-8", "surrogateescape")).hexdigest()
            finally:
                shutil.rmtree(mnt, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _actions(engine: Engine, sources: list[str], target: str, wishes: CopyWishes, scratch: str, digests: list[str]) -> list[dict[str, Any]]:
    shared: dict[str, Any] = {
        "do": "copy",
        "chown": wishes.chown,
        "chmod": wishes.chmod,
        "destination": target,
        "epoch_ns": -1,
        "exclude": list(wishes.exclude),
        "parents": False,
        "users": [],
        "files": [],
    }
    if wishes.from_:
        digests += [wishes.from_, *sources]
        return [{**shared, "lowers": _lowers(engine, wishes.from_), "sources": sources}]
    fetcher = Fetcher(scratch, engine.store.path("cache", "http"), {})
    found = []
    for source in sources:
        if wishes.add and git.is_remote(source):
            found.append({**shared, **_fetched(fetcher, source, target, digests)})
        else:
            found.append({**shared, **_local(source, target, wishes, digests)})
    return found


def _local(source: str, target: str, wishes: CopyWishes, digests: list[str]) -> dict[str, Any]:
    if wishes.contextdir:
        base, pattern = os.path.realpath(wishes.contextdir), os.path.normpath("/" + source).lstrip("/")
    else:
        plain = os.path.abspath(source)
        base, pattern = os.path.realpath(os.path.dirname(plain)), os.path.basename(plain)
        if os.path.isdir(plain) or not pattern:
            base, pattern = os.path.realpath(plain), "."
    context = Context(base, Ignore(wishes.ignore), "/dev/null")
    matches = context.matches(pattern)
    if not matches:
        raise BuildError(f'no items matching glob "{source}" copied (0 filtered): no such file or directory')
    exclude = Ignore(wishes.exclude) if wishes.exclude else None
    rows = []
    for match in matches:
        unpack = wishes.add and not match.entry.is_folder and is_archive(f"{base}/{match.path}")
        digests.append(context.digest(match, exclude))
        rows.append([match.path, match.shown, context.listing(match, exclude), target, unpack, False])
    return {"context": base, "sources": rows}


def _fetched(fetcher: Fetcher, source: str, target: str, digests: list[str]) -> dict[str, Any]:
    from wherry.build.state import CopyStep

    step = CopyStep(None, source, (source,), target, add=True, unpack=False)  # type: ignore[arg-type]
    got = fetcher.get(source, step)
    digests.append(got.digest)
    return {"context": got.folder, "sources": [[got.path, got.name, got.listing, target, got.unpack, False]], "chmod": got.chmod}


def _lowers(engine: Engine, name: str) -> list[str]:
    """The trees of an image or of a container, topmost first."""
    store = engine.store
    try:
        return trees.of(store, containers.find(store.db, name)).all
    except NotFound:
        row = images.find(store.db, name)
        return [store.path("layers", str(n)) for n in dict.fromkeys(images.layer_numbers(store.db, row.id))]


__all__ = ["CopyWishes", "copy"]
