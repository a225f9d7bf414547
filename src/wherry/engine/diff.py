"""`diff` and `export`: what a container changed, and all that it has."""

from __future__ import annotations

import os

from wherry.engine import trees
from wherry.errors import ArchiveError, NotFound
from wherry.model.record import Record
from wherry.store import containers, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine import Engine


class Change(Record):
    """`kind`: "A" added, "C" changed, "D" deleted."""

    kind: str
    path: str


def diff(engine: Engine, name: str) -> list[Change]:
    """What a container, or the topmost layer of an image, changed, sorted by path. Raises NotFound."""
    store = engine.store
    try:
        row = containers.find(store.db, name)
    except NotFound:
        return _image(engine, name)
    its = trees.of(store, row)
    with trees.Workshop(store) as workshop:
        found = workshop.do("tree-changes", lowers=list(its.lowers), upper=its.upper, stubs=trees.stubs(row))
    return [Change(kind, path) for kind, path in found]


def _image(engine: Engine, name: str) -> list[Change]:
    """podman's: an image against the one below."""
    store = engine.store
    try:
        image = images.find(store.db, name)
    except NotFound:
        raise NotFound(f"No such container: {name}") from None
    numbers = list(dict.fromkeys(images.layer_numbers(store.db, image.id)))
    if not numbers:
        return []
    paths = [store.path("layers", str(n)) for n in numbers]
    with trees.Workshop(store) as workshop:
        found = workshop.do("tree-changes", lowers=paths[1:], upper=paths[0], stubs=[])
    return [Change(kind, path) for kind, path in found]


def export(engine: Engine, name: str, target: str | int) -> None:
    """The file system of a container as a tar, without its volumes: to a descriptor or a file. Raises NotFound, ArchiveError."""
    store = engine.store
    row = containers.find(store.db, name)
    its = trees.of(store, row)
    if isinstance(target, int):
        _export(engine, its, target)
        return
    # A name that appears when it is whole.
    part = f"{os.path.dirname(target) or '.'}/.{os.path.basename(target)}.{os.getpid()}"
    try:
        fd = os.open(
            target if os.path.exists(target) and not os.path.isfile(target) else part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise ArchiveError(f"{target} can't be written: {(os.strerror(error.errno or 0)).lower()}") from error
    try:
        _export(engine, its, fd)
        if os.path.lexists(part):
            os.rename(part, target)
    finally:
        os.close(fd)
        if os.path.lexists(part):
            os.unlink(part)


def _export(engine: Engine, its: trees.Trees, fd: int) -> None:
    with trees.Workshop(engine.store) as workshop:
        workshop.do("tree-whole", fd, lowers=its.all)
