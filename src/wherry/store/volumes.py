"""Volumes in the store: rows, who uses them, folders volumes/<name>, removal.

A row is made first and is not `ready`; then the folder with the first content is made in staging/ and renamed into its place.
Removal goes the other way round inside one transaction: rename into staging/, delete the row. docs/internals/volumes.md has the why.
"""

from __future__ import annotations

import os
import time

from wherry.errors import Conflict, NotFound
from wherry.model import jsontext
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.store import Store
    from wherry.store.db import Database

_COLUMNS = "name, driver, options, labels, anonymous, ready, created_ns, state"
# In staging/: rmvolume-<random>-<name>, every "-" of the name written as "+", which no name has, so that it isn't taken for an owner.
STAGED = "rmvolume-"


class VolumeRow(Record):
    """A volume as the database holds it. `ready`: its folder has its first content."""

    name: str
    driver: str
    options_text: str
    labels_text: str
    anonymous: bool
    ready: bool
    created_ns: int
    state_text: str = "{}"

    def options(self) -> dict[str, str]:
        return jsontext.loads(self.options_text)  # type: ignore[no-any-return]

    def labels(self) -> dict[str, str]:
        return jsontext.loads(self.labels_text)  # type: ignore[no-any-return]

    def state(self) -> dict[str, Any]:
        return jsontext.loads(self.state_text)  # type: ignore[no-any-return]


def get(db: Database, name: str) -> VolumeRow | None:
    row = db.row(f"SELECT {_COLUMNS} FROM volumes WHERE name = ? AND NOT doomed", (name,))
    return VolumeRow(*row) if row else None


def find(db: Database, name: str) -> VolumeRow:
    """Raises NotFound with docker's words."""
    row = get(db, name)
    if row is None:
        raise NotFound(f"get {name}: no such volume")
    return row


def everything(db: Database) -> list[VolumeRow]:
    """All volumes by name."""
    return [VolumeRow(*row) for row in db.rows(f"SELECT {_COLUMNS} FROM volumes WHERE NOT doomed ORDER BY name")]


def users(db: Database) -> dict[str, list[str]]:
    """Volume → ids of the containers that refer to it."""
    found: dict[str, list[str]] = {}
    for volume, container_id in db.rows("SELECT volume, container_id FROM volume_uses ORDER BY container_id"):
        found.setdefault(volume, []).append(container_id)
    return found


def users_of(db: Database, name: str) -> list[str]:
    return [row[0] for row in db.rows("SELECT container_id FROM volume_uses WHERE volume = ? ORDER BY container_id", (name,))]


def insert(db: Database, name: str, driver: str, options: dict[str, str], labels: dict[str, str], *, anonymous: bool) -> None:
    """Add a row that is not ready. One that went with its container and is not removed yet is kept after all."""
    db.execute(
        "INSERT INTO volumes (name, driver, options, labels, anonymous, ready, created_ns) VALUES (?,?,?,?,?,0,?)"
        " ON CONFLICT (name) DO UPDATE SET doomed = 0",
        (name, driver, jsontext.dumps(options), jsontext.dumps(labels), int(anonymous), time.time_ns()),
    )


def use(db: Database, container_id: str, name: str, *, owned: bool) -> None:
    db.execute("INSERT OR IGNORE INTO volume_uses (container_id, volume, owned) VALUES (?,?,?)", (container_id, name, int(owned)))


def set_state(db: Database, name: str, state: dict[str, Any]) -> None:
    db.execute("UPDATE volumes SET state = ? WHERE name = ?", (jsontext.dumps(state), name))


def set_labels(db: Database, name: str, labels: dict[str, str]) -> None:
    db.execute("UPDATE volumes SET labels = ? WHERE name = ?", (jsontext.dumps(labels), name))


def touch(store: Store, name: str) -> None:
    """Note that a volume is being used: the time of its folder, which costs no transaction. Never used: 1970."""
    try:
        os.utime(folder(store, name))
    except FileNotFoundError:
        return


def used_ns(store: Store, name: str) -> int:
    try:
        return os.stat(folder(store, name)).st_mtime_ns
    except OSError:
        return 0


def folder(store: Store, name: str) -> str:
    return store.path("volumes", name)


def data(store: Store, name: str) -> str:
    """What containers see of a local volume."""
    return store.path("volumes", name, "_data")


class Placing:
    """A folder volumes/<name> or snapshots/<id> is being given its place before its row is committed: until then a marker in staging/
    tells of it, so that one without a row doesn't stay."""

    def __init__(self, store: Store, place: str) -> None:
        self._marker = store.staging("folderof")
        os.symlink(place, self._marker)

    def __enter__(self) -> Placing:
        return self

    def __exit__(self, *_error: object) -> None:
        os.unlink(self._marker)


def drop_unplaced(store: Store, marker: str) -> None:
    """A marker of a process that is gone: the folder that it names goes, unless a row has it."""
    path = store.path("staging", marker)
    try:
        place = os.readlink(path)
    except OSError:
        return
    kind, _, name = place.partition("/")
    query = "SELECT 1 FROM volumes WHERE name = ?" if kind == "volumes" else "SELECT 1 FROM volume_snapshots WHERE id = ?"
    doomed = f"rmfolder-{os.urandom(6).hex()}"
    with store.db.transaction() as db:
        if db.row(query, (name,)) is None:
            try:
                os.rename(store.path(place), store.path("staging", doomed))
            except FileNotFoundError:
                doomed = ""
        else:
            doomed = ""
    if doomed:
        from wherry.store import removal

        removal.drop_trees(store, [doomed])
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def make_ready(store: Store, name: str, staged: str = "") -> None:
    """Give a new volume its folder, and tell of it: `staged` (a folder of staging/ with a _data), or an empty one. Idempotent, kill -9 at any instant."""
    place = folder(store, name)
    if not staged and not os.path.isdir(place):
        staged = store.staging("volume")
        os.mkdir(staged, 0o711)
        os.mkdir(staged + "/_data", 0o755)
        os.chmod(staged + "/_data", 0o755)
        os.utime(staged, (0, 0))
    if staged:
        # Under the transaction nobody else makes or removes it; a folder that is there already was renamed by somebody who was killed
        # before the next statement, and is whole.
        with store.db.transaction() as db:
            row = db.row("SELECT ready, driver FROM volumes WHERE name = ?", (name,))
            if row is None:
                raise NotFound(f"get {name}: no such volume")
            if not row[0]:
                _rename(staged, place)
                db.execute("UPDATE volumes SET ready = 1 WHERE name = ?", (name,))
        if not row[0]:
            from wherry.store import events

            events.append(store, "volume", "create", name, {"driver": row[1]})
    else:
        store.db.execute("UPDATE volumes SET ready = 1 WHERE name = ?", (name,))


def staged_folder(store: Store, files: dict[str, bytes]) -> str:
    """A folder in staging/ for a new volume, with private files beside its empty _data."""
    staged = store.staging("volume")
    os.mkdir(staged, 0o711)
    os.mkdir(staged + "/_data", 0o755)
    for name, data in files.items():
        fd = os.open(f"{staged}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
    os.utime(staged, (0, 0))
    return staged


def _rename(staged: str, place: str) -> None:
    try:
        os.rename(staged, place)
    except OSError:
        if not os.path.isdir(place + "/_data"):
            raise


def remove(store: Store, name: str, *, cancelled: bool = False) -> None:
    """Remove a volume that nothing refers to. Raises NotFound, Conflict with docker's words."""
    doomed = f"{STAGED}{os.urandom(6).hex()}-{name.replace('-', '+')}"
    with store.db.transaction() as db:
        row = db.row("SELECT doomed, driver FROM volumes WHERE name = ?", (name,))
        if row is None or row[0] and not cancelled:
            raise NotFound(f"get {name}: no such volume")
        ids = users_of(db, name)
        if ids:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(ids)}]")
        snapshots = _set_aside_snapshots(store, db, name)
        moved = _set_aside(store, name, doomed)
        db.execute("DELETE FROM volumes WHERE name = ?", (name,))
    from wherry.store import events, removal

    events.append(store, "volume", "destroy", name, {"driver": row[1]})
    removal.drop_trees(store, ([doomed] if moved else []) + snapshots)


def _set_aside(store: Store, name: str, doomed: str) -> bool:
    try:
        os.rename(folder(store, name), store.path("staging", doomed))
    except FileNotFoundError:
        return False
    return True


def _set_aside_snapshots(store: Store, db: Database, name: str) -> list[str]:
    gone = []
    for (number,) in db.rows("SELECT id FROM volume_snapshots WHERE volume = ?", (name,)):
        staged = f"rmsnapshot-{number}"
        try:
            os.rename(store.path("snapshots", str(number)), store.path("staging", staged))
        except FileNotFoundError:
            continue
        gone.append(staged)
    return gone


def finish_removal(store: Store, staged: str) -> None:
    """An entry rmvolume-… of staging/: its removal was cut short before its commit, or after."""
    name = staged.removeprefix(STAGED).partition("-")[2].replace("+", "-")
    with store.db.transaction() as db:
        if os.path.isdir(folder(store, name)):
            return
        db.execute(
            "DELETE FROM volumes WHERE name = ? AND ready AND NOT EXISTS (SELECT 1 FROM volume_uses WHERE volume = volumes.name)", (name,)
        )


def drop_doomed(store: Store) -> None:
    """Remove the volumes that went with their containers (store/containers.py: delete)."""
    for (name,) in store.db.rows("SELECT name FROM volumes WHERE doomed"):
        try:
            remove(store, name, cancelled=True)
        except NotFound:
            continue
        except Conflict:
            # Somebody named it between: it is a volume like any other again.
            store.db.execute("UPDATE volumes SET doomed = 0 WHERE name = ?", (name,))
