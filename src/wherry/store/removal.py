"""Removing containers from the store: rename into staging/, commit, then take the tree apart.

A row whose folder is gone is a removal that was cut short between the two: whoever meets it deletes the row.
"""

from __future__ import annotations

import os

from wherry.kernel import process
from wherry.store import actual, events, treeop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store


def remove_locked(store: Store, container_id: str) -> None:
    """Remove a container that is not running and whose lock the caller holds."""
    doomed = f"rm-{container_id}"
    set_aside(store, container_id)
    events.remove_row(store, store.db, container_id)
    drop_run_folder(store, container_id)
    drop_trees(store, [doomed])


def make_folder(store: Store, container_id: str) -> None:
    """Make a container's folder with its writable layer, both empty."""
    folder = store.path("containers", container_id)
    os.mkdir(folder, 0o700)
    os.mkdir(folder + "/over", 0o700)
    os.mkdir(folder + "/over/upper", 0o755)
    # The root folder of the container: a program that uses the API may have any mask.
    os.chmod(folder + "/over/upper", 0o755)
    os.mkdir(folder + "/over/work", 0o700)


def owner_alive(name: str) -> bool:
    """Whether the owner in a staging entry's name, kind-pid-start-random, lives. Entries without an owner have none."""
    parts = name.split("-")
    if len(parts) < 4 or not (parts[-3].isdigit() and parts[-2].isdigit()):
        return False
    return process.alive(int(parts[-3]), int(parts[-2]))


def targets_of_markers(store: Store, kind: str) -> set[str]:
    """What the markers of living commands in staging/ name: containers or layers that are being made or taken away."""
    found = set()
    for name in os.listdir(store.path("staging")):
        if name.startswith(kind) and owner_alive(name):
            try:
                found.add(os.readlink(store.path("staging", name)))
            except OSError:
                continue
    return found


def set_aside(store: Store, container_id: str) -> None:
    """Rename a container's folder into staging/, where anybody may remove it. Nothing happens when it is gone."""
    try:
        os.rename(store.path("containers", container_id), store.path("staging", f"rm-{container_id}"))
    except FileNotFoundError:
        return


def finish(store: Store, container_id: str) -> None:
    """The folder lies in staging/: a removal killed before its commit left the row. Deleting one that is gone is no error."""
    if store.db.row("SELECT 1 FROM containers WHERE id = ?", (container_id,)) and not os.path.lexists(
        store.path("containers", container_id)
    ):
        events.remove_row(store, store.db, container_id)


def drop_half_made(store: Store, marker: str) -> None:
    """A `create-…` marker in staging/ names a container whose creation was cut short: remove it unless it was committed."""
    path = store.path("staging", marker)
    try:
        container_id = os.readlink(path)
    except OSError:
        drop_trees(store, [marker])
        return
    if store.db.row("SELECT 1 FROM containers WHERE id = ?", (container_id,)) is None:
        _kill_orphan(store, container_id)
        set_aside(store, container_id)
        drop_trees(store, [f"rm-{container_id}"])
    _unlink(path)


def _kill_orphan(store: Store, container_id: str) -> None:
    """A step of a build whose builder was killed: its process goes on for nobody. Its monitor then leaves by itself."""
    pid, start = actual.pair(actual.state_file(store, container_id).get("init", ""))
    if pid > 0 and process.alive(pid, start):
        process.kill(pid, start)


def drop_orphan_layer(store: Store, marker: str) -> None:
    """A `layerof-…` marker names a layer whose tree was moving in or out: without a row the tree goes."""
    path = store.path("staging", marker)
    try:
        number = os.readlink(path)
    except FileNotFoundError:
        return
    if number.isdigit() and store.db.row("SELECT 1 FROM layers WHERE id = ?", (int(number),)) is None:
        doomed = f"rm-layer-{number}"
        try:
            os.rename(store.path("layers", number), store.path("staging", doomed))
        except FileNotFoundError:
            doomed = ""
        if doomed:
            drop_trees(store, [doomed])
    _unlink(path)


def _unlink(path: str) -> None:
    """Two commands may sweep at once: the other one may have been quicker."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def drop_trees(store: Store, names: list[str]) -> None:
    """Remove entries of staging/, whatever they are; those of ordinary users by a helper inside their user namespace."""
    paths = []
    for name in names:
        path = store.path("staging", name)
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError:
            paths.append(path)
    if paths:
        treeop.remove_trees(paths)


def drop_run_folder(store: Store, container_id: str) -> None:
    """Remove <run>/<id>. Its entries are plain files and empty folders that wherry made."""
    folder = store.run_path(container_id)
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in entries:
        path = f"{folder}/{name}"
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError:
            _drop_folder(path)
    try:
        os.rmdir(folder)
    except OSError:
        # Somebody starts the same container again just now.
        return


def _drop_folder(path: str) -> None:
    try:
        entries = os.listdir(path)
    except OSError:
        # Another command was quicker.
        return
    for name in entries:
        try:
            os.unlink(f"{path}/{name}")
        except OSError:
            continue
    try:
        os.rmdir(path)
    except OSError:
        return
