"""`image tree`: the layers of an image, and which other images share them; `image mount`: its files in the caller's mount namespace."""

from __future__ import annotations

import os

from wherry.errors import HostError
from wherry.model import reference
from wherry.model.record import Record
from wherry.store import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine import Engine


class TreeLayer(Record):
    """`top_of`: familiar names of the images that end with it. `shared`: how many other images have it, too."""

    id: str
    size_bytes: int
    top_of: tuple[str, ...]
    shared: int


class Tree(Record):
    """`layers` from the bottom up. `own_bytes`: what would come free if the image went."""

    id: str
    tags: tuple[str, ...]
    size_bytes: int
    own_bytes: int
    layers: tuple[TreeLayer, ...]


def tree(engine: Engine, name: str) -> Tree:
    """Raises NotFound."""
    db = engine.store.db
    row = images.find(db, name)
    tops: dict[int, list[str]] = {}
    users: dict[int, set[str]] = {}
    for other in images.everything(db):
        numbers = images.layer_numbers(db, other.id)
        if numbers:
            tops.setdefault(numbers[0], []).extend(_familiar(engine, other.id) or [other.id[7:19]])
        for number in numbers:
            users.setdefault(number, set()).add(other.id)
    found = []
    own = 0
    for number in reversed(images.layer_numbers(db, row.id)):
        diff_id, size = db.row("SELECT diff_id, size_bytes FROM layers WHERE id = ?", (number,))
        shared = len(users[number]) - 1
        own += 0 if shared else int(size)
        found.append(TreeLayer(str(diff_id), int(size), tuple(tops.get(number, ())), shared))
    return Tree(row.id, tuple(_familiar(engine, row.id)), row.size_bytes, own, tuple(found))


def _familiar(engine: Engine, image_id: str) -> list[str]:
    names = (reference.parse(name) for name in images.names_of(engine.store.db, image_id))
    return [name.familiar for name in names if not name.digest]


# -- mounts ----------------------------------------------------------------------------------------------------------------


def _place(engine: Engine, image_id: str) -> str:
    return engine.store.run_path("images", image_id[7:])


def mount(engine: Engine, name: str) -> str:
    """Mount an image's files, read-only; where. Raises NotFound; HostError for a user outside of `unshare`."""
    store = engine.store
    row = images.find(store.db, name)
    if os.geteuid() != 0:
        raise HostError(
            "cannot mount an image in rootless mode: an ordinary user's mounts are seen only inside of a namespace of his own",
            hint="use it inside of `wherry unshare`",
        )
    path = _place(engine, row.id)
    if os.path.ismount(path):
        return path
    from wherry.kernel import inroot

    os.makedirs(path, 0o755, exist_ok=True)
    lowers = [store.path("layers", str(n)) for n in dict.fromkeys(images.layer_numbers(store.db, row.id))]
    if not lowers:
        return path
    if len(lowers) == 1:
        # overlayfs wants two lower folders.
        empty = store.run_path("images", "empty")
        os.makedirs(empty, 0o755, exist_ok=True)
        lowers.append(empty)
    inroot.mount_overlay(lowers, "", "", path)
    return path


def mounted(engine: Engine) -> list[tuple[str, str]]:
    """(image id, path) of what is mounted here."""
    folder = engine.store.run_path("images")
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [("sha256:" + name, f"{folder}/{name}") for name in names if os.path.ismount(f"{folder}/{name}")]


def unmount(engine: Engine, name: str) -> str:
    """Take an image's mount away; its id. Raises NotFound; HostError when it isn't mounted here."""
    from wherry.kernel import inroot

    row = images.find(engine.store.db, name)
    path = _place(engine, row.id)
    if not os.path.ismount(path):
        raise HostError(f"image {name} is not mounted here")
    inroot.unmount(path)
    os.rmdir(path)
    return row.id
