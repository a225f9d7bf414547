"""After a reboot: what a power cut may have torn apart between the database and the folders beside it. The same when somebody
has deleted the run root (see regain.py).

While the kernel lives, the order of our steps protects us from kill -9 alone. A power cut knows no order between a commit of the
database, which is on the platter when it is acknowledged, and a rename or mkdir before it, which may not be: SQLite overwrites its
log in place, so its fsync doesn't have to take the file system's journal along. The first command of each boot puts that right.
"""

from __future__ import annotations

import os

from wherry.kernel import process
from wherry.store import events, removal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store


def once_per_boot(store: Store) -> None:
    """Compare folders and rows if this boot hasn't seen it done. Costs two small reads when it has."""
    mark = store.run_path("boot")
    boot = process.boot_id()
    if process.read_text(mark) == boot:
        return
    from wherry.store import regain, volumecheck

    regain.regain(store)
    with store.db.transaction():
        doomed = _containers(store) + _layers(store)
        volumecheck.after_boot(store)
    removal.drop_trees(store, doomed)
    fd = os.open(mark + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, boot.encode())
    finally:
        os.close(fd)
    try:
        os.replace(mark + ".new", mark)
    except FileNotFoundError:
        return  # another command has just done the same


def _containers(store: Store) -> list[str]:
    """Folders without a row go. A row without a folder gets a new one, unless the container was being removed."""
    on_disk = set(os.listdir(store.path("containers")))
    rows = dict(store.db.rows("SELECT id, auto_remove FROM containers"))
    being_made = removal.targets_of_markers(store, "create-")
    doomed = []
    for container_id in on_disk - set(rows) - being_made:
        removal.set_aside(store, container_id)
        doomed.append(f"rm-{container_id}")
    for container_id in set(rows) - on_disk:
        if rows[container_id] or os.path.lexists(store.path("staging", f"rm-{container_id}")):
            events.remove_row(store, store.db, container_id)
        else:
            removal.make_folder(store, container_id)
    return doomed


def _layers(store: Store) -> list[str]:
    """Trees without a row go. (A row is never without its tree: that is synced before.)"""
    rows = {str(number) for (number,) in store.db.rows("SELECT id FROM layers")}
    doomed = []
    for name in set(os.listdir(store.path("layers"))) - rows - removal.targets_of_markers(store, "layerof-"):
        doomed.append(f"rm-layer-{name}")
        os.rename(store.path("layers", name), store.path("staging", doomed[-1]))
    return doomed
