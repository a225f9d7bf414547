"""What is in volumes, as a whole: tar streams out and in, snapshots, clones, restoring. All of it for local volumes that are folders."""

from __future__ import annotations

import os
import time

from wherry.engine import freezing
from wherry.errors import Conflict, InvalidArgument, NotFound, Unsupported
from wherry.model import volume as model
from wherry.store import actual, containers, removal, treeop, volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine import Engine
    from wherry.store import Store
    from wherry.store.volumes import VolumeRow


def _folder_volume(store: Store, name: str) -> VolumeRow:
    """A volume whose content is a folder of the store. Raises NotFound, Unsupported."""
    row = volumes.find(store.db, name)
    if row.driver != "local" or row.options_text != "{}":
        raise Unsupported(
            f"volume {name}: its content lies elsewhere, by its driver or its options", hint="copy it with a container that mounts it"
        )
    if not row.ready:
        volumes.make_ready(store, name)
    return row


def _running(store: Store, name: str) -> list[str]:
    rows = [containers.find(store.db, i) for i in volumes.users_of(store.db, name)]
    return [row.id for row in rows if actual.read(store, row).alive]


def export(engine: Engine, name: str, fd: int) -> None:
    """Write a tar stream with the volume's content to `fd`. Raises StoreError."""
    _folder_volume(engine.store, name)
    treeop.tar_out(volumes.data(engine.store, name), fd)


def import_(engine: Engine, name: str, source: str | int) -> None:
    """Unpack a tar archive into a volume, over what is in it. `source`: a path, or a descriptor.

    All or nothing unless a container runs with the volume: then it is unpacked in its sight. Raises ArchiveError, StoreFull.
    """
    from wherry.archive import streams

    store = engine.store
    _folder_volume(store, name)
    single = _single()

    def feed(fd: int) -> None:
        if isinstance(source, int):
            streams.copy_to_fd(streams.plain(streams.FdReader(source)), fd)
            return
        try:
            file = open(source, "rb")
        except OSError as error:
            raise NotFound(f"open {source}: {os.strerror(error.errno or 0).lower()}") from error
        with file:
            streams.copy_to_fd(streams.plain(file), fd)

    if _running(store, name):
        treeop.unpack(volumes.data(store, name), feed, single=single, literal=True)
        return
    staged = _staged_copy(store, volumes.data(store, name))
    treeop.unpack(staged + "/_data", feed, single=single, literal=True)
    treeop.sync(staged)
    _exchange(store, name, staged)


def _single() -> bool:
    from wherry.kernel import userns

    return userns.current().mode == "single"


def _staged_copy(store: Store, source: str) -> str:
    staged = store.staging("volume")
    os.mkdir(staged, 0o711)
    treeop.copy_tree(source, staged + "/_data")
    return staged


def _exchange(store: Store, name: str, staged: str) -> None:
    """The folder of a volume changes places with `staged`, at once; what it had is removed."""
    from wherry.kernel.exchange import exchange

    with store.db.transaction() as db:
        if volumes.get(db, name) is None:
            raise NotFound(f"get {name}: no such volume")
        if _running(store, name):
            raise Conflict(f"volume {name} has been mounted by a container meanwhile", hint="stop it first")
        exchange(staged, volumes.folder(store, name))
    removal.drop_trees(store, [os.path.basename(staged)])


def clone(engine: Engine, name: str, new: str) -> None:
    """Make the volume `new` with the content of `name`, and its labels. Raises Conflict when there is one, InvalidArgument."""
    store = engine.store
    row = _folder_volume(store, name)
    model.check_name(new)
    if volumes.get(store.db, new) is not None:
        raise Conflict(f"create {new}: conflict: volume name must be unique")
    with freezing.frozen(engine, _running(store, name)):
        staged = _staged_copy(store, volumes.data(store, name))
    treeop.sync(staged)
    os.utime(staged, (0, 0))
    with volumes.Placing(store, f"volumes/{new}"), store.db.transaction() as db:
        if volumes.get(db, new) is not None:
            raise Conflict(f"create {new}: conflict: volume name must be unique")
        labels = {key: value for key, value in row.labels().items() if key != model.ANONYMOUS_LABEL}
        volumes.insert(db, new, "local", {}, labels, anonymous=False)
        volumes.make_ready(store, new, staged)


def snapshot(engine: Engine, name: str, label: str) -> None:
    """Keep what the volume has now under a name. Containers that write to it are frozen meanwhile."""
    store = engine.store
    _folder_volume(store, name)
    model.check_name(label)
    if _snapshot_id(store, name, label) is not None:
        raise Conflict(f"snapshot {label} of volume {name} is there already", hint=f"remove it: volume snapshot --rm {name} {label}")
    with freezing.frozen(engine, _running(store, name)):
        staged = _staged_copy(store, volumes.data(store, name))
    treeop.sync(staged)
    os.makedirs(store.path("snapshots"), 0o700, exist_ok=True)
    with store.db.transaction() as db:
        if volumes.get(db, name) is None:
            raise NotFound(f"get {name}: no such volume")
        if _snapshot_id(store, name, label) is not None:
            raise Conflict(f"snapshot {label} of volume {name} is there already")
        cursor = db.execute("INSERT INTO volume_snapshots (volume, name, created_ns) VALUES (?,?,?)", (name, label, time.time_ns()))
        number = str(cursor.lastrowid)
        placing = volumes.Placing(store, f"snapshots/{number}")
        os.rename(staged, store.path("snapshots", number))
    with placing:
        return


def _snapshot_id(store: Store, name: str, label: str) -> int | None:
    row = store.db.row("SELECT id FROM volume_snapshots WHERE volume = ? AND name = ?", (name, label))
    return int(row[0]) if row else None


def snapshots(engine: Engine, name: str) -> list[tuple[str, int]]:
    """(name, time in ns) of a volume's snapshots, oldest first."""
    volumes.find(engine.store.db, name)
    rows = engine.store.db.rows("SELECT name, created_ns FROM volume_snapshots WHERE volume = ? ORDER BY id", (name,))
    return [(label, at) for label, at in rows]


def remove_snapshot(engine: Engine, name: str, label: str) -> None:
    store = engine.store
    number = _found_snapshot(store, name, label)
    doomed = f"rmsnapshot-{number}"
    with store.db.transaction() as db:
        db.execute("DELETE FROM volume_snapshots WHERE id = ?", (number,))
        try:
            os.rename(store.path("snapshots", str(number)), store.path("staging", doomed))
        except FileNotFoundError:
            return
    removal.drop_trees(store, [doomed])


def _found_snapshot(store: Store, name: str, label: str) -> int:
    volumes.find(store.db, name)
    number = _snapshot_id(store, name, label)
    if number is None:
        raise NotFound(f"volume {name} has no snapshot {label}")
    return number


def restore(engine: Engine, name: str, label: str) -> None:
    """Give a volume what it had at a snapshot; the snapshot stays. Raises Conflict while a container runs with it."""
    store = engine.store
    _folder_volume(store, name)
    number = _found_snapshot(store, name, label)
    running = _running(store, name)
    if running:
        raise Conflict(f"restore {name}: volume is in use - [{', '.join(running)}]", hint="stop these containers first")
    source = store.path("snapshots", str(number), "_data")
    if not os.path.isdir(source):
        raise InvalidArgument(f"snapshot {label} of volume {name} has lost its folder", hint="run `wherry system check`")
    staged = _staged_copy(store, source)
    treeop.sync(staged)
    _exchange(store, name, staged)


def disk_usage(engine: Engine, names: list[str]) -> list[tuple[str, int, int, int]]:
    """(name, bytes on disk, bytes as the files say, entries) of the volumes named, or of all."""
    store = engine.store
    chosen = names or [r.name for r in volumes.everything(store.db) if r.driver == "local" and r.options_text == "{}"]
    for name in names:
        _folder_volume(store, name)
    found = treeop.disk_usage([volumes.data(store, name) for name in chosen])
    return [(name, *numbers) for name, numbers in zip(chosen, found)]
