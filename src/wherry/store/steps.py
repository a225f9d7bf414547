"""The build cache: steps by their keys, digests of stages' contents, folders of cache mounts.

A step's layer is in `layers` before anything of the image that it will be part of exists. It is not synced then: it carries the
boot's id until an image that needs it is committed, and after another boot such layers are forgotten (a power cut may have torn
their trees).
"""

from __future__ import annotations

import os
import time

from wherry.kernel import process
from wherry.model.record import Record
from wherry.store import layers, treeop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.store import Store

# Of cached steps that nothing else uses; the least recently used go first. A setting names another one.
KEEP_BYTES = 20 << 30


class CachedStep(Record):
    """A row of the cache. `layer` None: the step changed nothing. `shared`: an image or a container needs its layer too."""

    key: str
    layer: int | None
    text: str
    created_ns: int
    used_ns: int
    uses: int
    size_bytes: int
    shared: bool


def find(store: Store, key: str) -> tuple[int, int] | None:
    """(layer, when it was made) of a step; None for one that isn't known."""
    row = store.db.row("SELECT layer_id, created_ns FROM build_steps WHERE key = ? AND layer_id IS NOT NULL", (key,))
    return None if row is None else (int(row[0]), int(row[1]))


def touch(store: Store, keys: list[str]) -> None:
    """Steps that a build used again. Losing this in a power cut only makes them look older."""
    now = time.time_ns()
    with store.db.transaction(durable=False) as db:
        db.executemany("UPDATE build_steps SET used_ns = ?, uses = uses + 1 WHERE key = ?", [(now, key) for key in keys])


def add(store: Store, key: str, text: str, tree: str, move: Callable[[str, str], None]) -> tuple[int, int]:
    """Take the tree of a step's layer over by a rename. Returns (layer, when it was made)."""
    now = time.time_ns()
    changes = layers.Changes(store)
    with store.db.transaction(durable=False) as db:
        number = changes.adopt(tree, move)
        db.execute(
            "INSERT OR REPLACE INTO build_steps (key, layer_id, text, created_ns, used_ns) VALUES (?,?,?,?,?)",
            (key, number, text[:1000], now, now),
        )
    changes.finish()
    return number, now


def settle(store: Store, numbers: list[int]) -> None:
    """The layers of an image are on the platter now."""
    store.db.executemany("UPDATE layers SET boot_id = NULL WHERE id = ?", [(n,) for n in numbers])


def unsettled(store: Store, numbers: list[int]) -> list[int]:
    """Which of these layers haven't been synced."""
    return [n for n in numbers if (store.db.row("SELECT boot_id FROM layers WHERE id = ?", (n,)) or (None,))[0]]


def forget_torn(store: Store) -> None:
    """Forget the steps whose layers were written in another boot and never synced."""
    boot = process.boot_id()
    rows = store.db.rows("SELECT id FROM layers WHERE boot_id IS NOT NULL AND boot_id != ?", (boot,))
    if rows:
        drop_layers_of(store, [int(n) for (n,) in rows])


def drop_layers_of(store: Store, numbers: list[int]) -> int:
    """Forget cached steps by their layers and drop those that nothing else needs; the bytes that came free."""
    changes = layers.Changes(store)
    with store.db.transaction() as db:
        db.executemany("DELETE FROM build_steps WHERE layer_id = ?", [(n,) for n in numbers])
        freed = sum(size for _name, size in changes.drop_unused())
    changes.finish()
    return freed


def everything(store: Store) -> list[CachedStep]:
    """All cached steps, the least recently used first."""
    rows = store.db.rows(
        "SELECT s.key, s.layer_id, s.text, s.created_ns, s.used_ns, s.uses, COALESCE(l.size_bytes, 0), "
        "EXISTS (SELECT 1 FROM image_layers i WHERE i.layer_id = s.layer_id) "
        "FROM build_steps s LEFT JOIN layers l ON l.id = s.layer_id ORDER BY s.used_ns"
    )
    held = {n for (text,) in store.db.rows("SELECT layers FROM containers") for n in text.split(",")}
    return [
        CachedStep(key, layer, text, created, used, uses, size, bool(in_image) or str(layer) in held)
        for key, layer, text, created, used, uses, size, in_image in rows
    ]


def unmeasured(store: Store) -> list[int]:
    """Layers of steps that no image needed yet: their sizes aren't known."""
    rows = store.db.rows(
        "SELECT DISTINCT l.id FROM layers l JOIN build_steps s ON s.layer_id = l.id WHERE l.diff_id IS NULL AND l.size_bytes = 0 ORDER BY l.id"
    )
    return [int(n) for (n,) in rows]


def measured(store: Store, sizes: dict[int, int]) -> None:
    store.db.executemany("UPDATE layers SET size_bytes = ? WHERE id = ? AND diff_id IS NULL", [(size, n) for n, size in sizes.items()])


def prune(store: Store, *, keep_bytes: int = 0, older_than_ns: int = 0, shared_too: bool = False) -> tuple[list[CachedStep], int]:
    """Forget steps, the least recently used first, until at most `keep_bytes` are left; what went, and the bytes that came free.

    `older_than_ns`: only those not used since that time. A layer that an image or a container needs stays, its step goes only
    with `shared_too`.
    """
    rows = everything(store)
    left = sum(row.size_bytes for row in rows if not row.shared)
    gone = []
    for row in rows:
        if row.shared and not shared_too or older_than_ns and row.used_ns >= older_than_ns:
            continue
        if not row.shared and keep_bytes and left <= keep_bytes:
            continue
        gone.append(row)
        left -= 0 if row.shared else row.size_bytes
    changes = layers.Changes(store)
    with store.db.transaction() as db:
        db.executemany("DELETE FROM build_steps WHERE key = ?", [(row.key,) for row in gone])
        freed = sum(size for _name, size in changes.drop_unused())
        if older_than_ns:
            db.execute("DELETE FROM build_digests WHERE used_ns < ?", (older_than_ns,))
        elif not keep_bytes:
            db.execute("DELETE FROM build_digests")
    changes.finish()
    return gone, freed


# -- what COPY --from takes -------------------------------------------------------------------------------------------------


def digest_of(store: Store, stage_key: str, what: str) -> str:
    """The digest that was found for it, "" when nobody has looked."""
    row = store.db.row("SELECT digest FROM build_digests WHERE stage_key = ? AND what = ?", (stage_key, what))
    return "" if row is None else str(row[0])


def set_digest(store: Store, stage_key: str, what: str, digest: str) -> None:
    store.db.execute("INSERT OR REPLACE INTO build_digests VALUES (?,?,?,?)", (stage_key, what, digest, time.time_ns()))


# -- cache mounts -----------------------------------------------------------------------------------------------------------


def mount_folders(store: Store, name: str) -> list[str]:
    """The folders of a cache mount, the oldest first. There are several where a step wanted one for itself (sharing=private)."""
    rows = store.db.rows("SELECT id FROM build_mounts WHERE name = ? ORDER BY id", (name,))
    return [store.path("mounts", str(n)) for (n,) in rows]


def new_mount_folder(store: Store, name: str) -> str:
    """An empty folder for a cache mount."""
    now = time.time_ns()
    with store.db.transaction() as db:
        number = int(db.execute("INSERT INTO build_mounts (name, created_ns, used_ns) VALUES (?,?,?)", (name, now, now)).lastrowid)
        os.makedirs(store.path("mounts"), 0o700, exist_ok=True)
        path = store.path("mounts", str(number))
        if os.path.lexists(path):
            treeop.remove_trees([path])
        os.mkdir(path, 0o755)
    return path


def touch_mount(store: Store, folder: str) -> None:
    store.db.execute("UPDATE build_mounts SET used_ns = ? WHERE id = ?", (time.time_ns(), int(os.path.basename(folder))))


def drop_mounts(store: Store, older_than_ns: int = 0) -> int:
    """Remove the folders of cache mounts (those not used since, with `older_than_ns`); how many."""
    condition = "WHERE used_ns < ?" if older_than_ns else ""
    values = (older_than_ns,) if older_than_ns else ()
    numbers = [int(n) for (n,) in store.db.rows(f"SELECT id FROM build_mounts {condition}", values)]
    doomed = []
    with store.db.transaction() as db:
        for number in numbers:
            db.execute("DELETE FROM build_mounts WHERE id = ?", (number,))
            aside = store.staging("mount")
            try:
                os.rename(store.path("mounts", str(number)), aside)
            except FileNotFoundError:
                continue
            doomed.append(aside)
    if doomed:
        treeop.remove_trees(doomed)
    return len(numbers)
