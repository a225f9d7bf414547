"""`system check` of volumes and their snapshots, and what the first command of a boot does for them."""

from __future__ import annotations

import os

from wherry.store import removal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.store import Store


def problems(store: Store) -> Iterator[tuple[str, str, str]]:
    """(kind, name, problem): "volume" without its folder, "folder" without a row, "snapshot" without its folder."""
    on_disk = set(_entries(store, "volumes"))
    rows = dict(store.db.rows("SELECT name, ready FROM volumes"))
    for name in sorted(rows):
        if rows[name] and not os.path.isdir(store.path("volumes", name, "_data")):
            yield "volume", name, "its folder is missing: its data are lost"
    for name in sorted(on_disk - set(rows) - _being_placed(store, "volumes")):
        yield "folder", f"volumes/{name}", "no row of the database knows this folder"
    snapshots = {str(number) for (number,) in store.db.rows("SELECT id FROM volume_snapshots")}
    kept = set(_entries(store, "snapshots"))
    for number in sorted(snapshots - kept):
        yield "snapshot", number, "its folder is missing"
    for number in sorted(kept - snapshots - _being_placed(store, "snapshots")):
        yield "folder", f"snapshots/{number}", "no row of the database knows this folder"


def _entries(store: Store, kind: str) -> list[str]:
    try:
        return os.listdir(store.path(kind))
    except FileNotFoundError:
        return []


def _being_placed(store: Store, kind: str) -> set[str]:
    places = removal.targets_of_markers(store, "folderof-")
    return {place.partition("/")[2] for place in places if place.startswith(kind + "/")}


def repair(store: Store, kind: str, name: str) -> None:
    """Mend one of the problems: an empty folder for a volume without one; what nobody knows goes."""
    if kind == "volume":
        store.db.execute("UPDATE volumes SET ready = 0 WHERE name = ?", (name,))
    elif kind == "snapshot":
        store.db.execute("DELETE FROM volume_snapshots WHERE id = ?", (name,))
    else:
        doomed = f"rmfolder-{os.urandom(6).hex()}"
        os.rename(store.path(name), store.path("staging", doomed))
        removal.drop_trees(store, [doomed])


def after_boot(store: Store) -> None:
    """A power cut may have kept a row from being deleted, or a folder from its new place. What has no row goes; a volume whose folder
    was on its way out is removed, any other without one is left for `system check` to tell of: its data are gone."""
    staged = [name for name in os.listdir(store.path("staging")) if name.startswith("rmvolume-")]
    leaving = {name.removeprefix("rmvolume-").partition("-")[2].replace("+", "-") for name in staged}
    for kind, name, _problem in list(problems(store)):
        if kind == "folder":
            repair(store, kind, name)
        elif kind == "volume" and name in leaving:
            store.db.execute(
                "DELETE FROM volumes WHERE name = ? AND NOT EXISTS (SELECT 1 FROM volume_uses WHERE volume = volumes.name)", (name,)
            )
