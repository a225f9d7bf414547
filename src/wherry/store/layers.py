"""Layers: trees in layers/<n>/, known by the digest of their uncompressed tar. Staged, synced, renamed, then committed."""

from __future__ import annotations

import os
import time

from wherry.errors import ArchiveError
from wherry.kernel import process
from wherry.model.record import Record
from wherry.store import blobs, treeop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.store import Store
    from wherry.store.db import Database


class StagedLayer(Record):
    """A layer that lies in staging/, whole and not yet in the database."""

    path: str
    diff_id: str
    size_bytes: int
    entries: int
    blob_digest: str = ""
    blob_media_type: str = ""
    blob_size_bytes: int = 0
    recipe: str = ""
    tar_bytes: int = 0

    def drop(self) -> None:
        """Remove what was staged."""
        treeop.remove_trees([p for p in (self.path, self.recipe) if p and os.path.lexists(p)])


def find(store: Store, diff_id: str) -> int | None:
    """The number of the layer with this diff id, if the store has it."""
    row = store.db.row("SELECT id FROM layers WHERE diff_id = ?", (diff_id,))
    return None if row is None else int(row[0])


def _make_bare(path: str) -> None:
    """A folder that takes nothing from where it lies: no umask, no group, no access list is to show in a container."""
    os.mkdir(path, 0o700)
    for name in ("system.posix_acl_default", "system.posix_acl_access"):
        try:
            os.removexattr(path, name)
        except OSError:
            continue
    os.chown(path, os.geteuid(), os.getegid())
    os.chmod(path, 0o755)


def stage(
    store: Store, feed: Callable[[int], None], *, single: bool, max_bytes: int = -1, max_entries: int = -1, recipe: bool = False
) -> tuple[str, int, int]:
    """Unpack a tar stream into staging/. Returns (path, entries, bytes). What goes wrong leaves nothing behind.

    With `recipe` its recipe lies beside it, at the path and ".recipe": for layers whose blob is not kept.
    """
    path = store.staging("layer")
    _make_bare(path)
    beside = path + ".recipe" if recipe else ""
    try:
        entries, size = treeop.unpack(path, feed, single=single, max_bytes=max_bytes, max_entries=max_entries, recipe=beside)
    except BaseException:
        treeop.remove_trees([path, *([beside] if beside and os.path.exists(beside) else [])])
        raise
    return path, entries, size


class Changes:
    """Trees that come and go with one transaction. Call `finish()` after the commit.

    Before a tree moves, a marker in staging/ names its number: should we die, the sweep removes the tree if no row stands for it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._markers: list[str] = []
        self._doomed: list[int] = []

    def _mark(self, number: int) -> None:
        marker = self._store.staging("layerof")
        os.symlink(str(number), marker)
        self._markers.append(marker)

    def add(self, staged: StagedLayer) -> int:
        """Move a staged and synced layer into its place and add its row. Returns its number; an equal layer is shared."""
        store = self._store
        found = find(store, staged.diff_id)
        if found is not None:
            staged.drop()
            self._learn(found, staged)
            return found
        cursor = store.db.execute(
            "INSERT INTO layers (diff_id, size_bytes, entries, blob_digest, blob_media_type, blob_size_bytes, created_ns, tar_bytes) VALUES (?,?,?,?,?,?,?,?)",
            (
                staged.diff_id,
                staged.size_bytes,
                staged.entries,
                staged.blob_digest or None,
                staged.blob_media_type or None,
                staged.blob_size_bytes or None,
                time.time_ns(),
                staged.tar_bytes or None,
            ),
        )
        number = int(cursor.lastrowid)
        self._mark(number)
        target = store.path("layers", str(number))
        if os.path.lexists(target):
            # Left by a process that was killed between its rename and its commit.
            doomed = store.staging("layer")
            os.rename(target, doomed)
            treeop.remove_trees([doomed])
        os.rename(staged.path, target)
        _sync_folder(store.path("layers"))
        if staged.recipe:
            self._keep_recipe(staged)
        return number

    def adopt(self, tree: str, move: Callable[[str, str], None]) -> int:
        """Move the tree of a build's step into its place: not hashed, not measured, not synced, which its row says. Returns its number.

        `move` renames: a step may have given its root to somebody whose folders only root of R can move.
        """
        store = self._store
        cursor = store.db.execute(
            "INSERT INTO layers (diff_id, size_bytes, boot_id, created_ns) VALUES (NULL,0,?,?)", (process.boot_id(), time.time_ns())
        )
        number = int(cursor.lastrowid)
        self._mark(number)
        target = store.path("layers", str(number))
        if os.path.lexists(target):
            doomed = store.staging("layer")
            os.rename(target, doomed)
            treeop.remove_trees([doomed])
        move(tree, target)
        return number

    def name(self, number: int, diff_id: str, recipe: str, size_bytes: int, entries: int, tar_bytes: int) -> int:
        """An adopted layer's digest is known now. Returns the number to use: that of an equal layer, if there is one."""
        store = self._store
        found = find(store, diff_id)
        if found is not None and found != number:
            store.db.execute("UPDATE build_steps SET layer_id = ? WHERE layer_id = ?", (found, number))
            return found
        store.db.execute(
            "UPDATE layers SET diff_id = ?, size_bytes = ?, entries = ?, tar_bytes = ? WHERE id = ?",
            (diff_id, size_bytes, entries, tar_bytes, number),
        )
        final = blobs.recipe_path(store, diff_id)
        os.makedirs(os.path.dirname(final), 0o700, exist_ok=True)
        os.rename(recipe, final)
        return number

    def drop_equal(self, db: Database, numbers: list[int]) -> None:
        """Delete adopted layers to which equal ones were found; their trees go with `finish`. One in use by a container stays."""
        for number in numbers:
            if number in unused(self._store):
                self._mark(number)
                db.execute("DELETE FROM layers WHERE id = ?", (number,))
                self._doomed.append(number)

    def _keep_recipe(self, staged: StagedLayer) -> None:
        final = blobs.recipe_path(self._store, staged.diff_id)
        os.makedirs(os.path.dirname(final), 0o700, exist_ok=True)
        os.rename(staged.recipe, final)
        _sync_folder(os.path.dirname(final))

    def _learn(self, number: int, staged: StagedLayer) -> None:
        """A layer that is here already came with a blob that isn't known yet."""
        if staged.blob_digest and blobs.has(self._store, staged.blob_digest):
            row = self._store.db.row("SELECT blob_digest FROM layers WHERE id = ?", (number,))
            if row and not blobs.has(self._store, row[0] or ""):
                set_blob(self._store, number, staged.blob_digest, staged.blob_media_type, staged.blob_size_bytes)

    def drop_unused(self) -> list[tuple[str, int]]:
        """Delete the rows of layers that nothing needs; returns (diff id, bytes). Their trees go with `finish`."""
        store = self._store
        gone = []
        for number in unused(store):
            diff_id, size = store.db.row("SELECT diff_id, size_bytes FROM layers WHERE id = ?", (number,))
            self._mark(number)
            store.db.execute("DELETE FROM layers WHERE id = ?", (number,))
            gone.append((str(diff_id), int(size)))
            self._doomed.append(number)
        return gone

    def finish(self) -> None:
        paths = []
        for number in self._doomed:
            doomed = self._store.staging("layer")
            try:
                os.rename(self._store.path("layers", str(number)), doomed)
            except FileNotFoundError:
                continue
            except PermissionError:
                # A layer's root may belong to an id that the user isn't: it is taken apart where it is.
                doomed = self._store.path("layers", str(number))
            paths.append(doomed)
        for marker in self._markers:
            os.unlink(marker)
        self._doomed.clear()
        self._markers.clear()
        if paths:
            treeop.remove_trees(paths)
            blobs.collect(self._store)


def set_blob(store: Store, number: int, digest: str, media_type: str, size_bytes: int) -> None:
    """Remember the blob of a layer, which lies in blobs/ already."""
    store.db.execute(
        "UPDATE layers SET blob_digest = ?, blob_media_type = ?, blob_size_bytes = ? WHERE id = ?", (digest, media_type, size_bytes, number)
    )


def _sync_folder(path: str) -> None:
    """The commit that follows refers to what was renamed into it, and doesn't take it along to the platter."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def unused(store: Store) -> list[int]:
    """Layers that neither an image nor a container nor the build cache needs."""
    needed = {int(n) for (n,) in store.db.rows("SELECT layer_id FROM build_steps WHERE layer_id IS NOT NULL")}
    needed |= {int(n) for (n,) in store.db.rows("SELECT DISTINCT layer_id FROM image_layers")}
    for (text,) in store.db.rows("SELECT layers FROM containers"):
        needed.update(int(n) for n in text.split(",") if n)
    return [int(n) for (n,) in store.db.rows("SELECT id FROM layers") if int(n) not in needed]


def checked(diff_id: str, wanted: str) -> str:
    if wanted and diff_id != wanted:
        raise ArchiveError(f"a layer's diff id is {diff_id}, its image's config says {wanted}")
    return diff_id
