"""The sweep: what every command does for the dead before its own work.

Nothing here waits and nothing is undone that a living process owns: an owner is a pid with its start time, a container in
hand is locked. On a quiet store it costs four directory listings and a query.
"""

from __future__ import annotations

import errno
import os

from wherry.errors import Conflict, NotFound
from wherry.kernel import cgroup, process
from wherry.store import actual, containers, events, recovery, removal
from wherry.store.locks import FolderLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.store import Store

# Entries of the run root that are no containers.
_NOT_CONTAINERS = frozenset(("live", "locks", "cache", "volumes"))


def sweep(store: Store, before_burial: Callable[[Store], None] | None = None) -> None:
    """Finish what killed commands and killed monitors left: staging, run folders, cgroups, `--rm` containers.

    `before_burial` is called when some monitor was killed, with all rows of its container still there.
    """
    recovery.once_per_boot(store)
    _staging(store)
    live = _live(store, before_burial)
    _run_folders(store, live)
    _auto_removed(store, live)
    if store.db.row("SELECT 1 FROM volumes WHERE doomed"):
        from wherry.store import volumes

        volumes.drop_doomed(store)


def _staging(store: Store) -> None:
    doomed = []
    for name in os.listdir(store.path("staging")):
        if removal.owner_alive(name):
            continue
        if name.startswith("create-"):
            removal.drop_half_made(store, name)
        elif name.startswith("rmvolume-"):
            from wherry.store import volumes

            volumes.finish_removal(store, name)
            doomed.append(name)
        elif name.startswith("folderof-"):
            from wherry.store import volumes

            volumes.drop_unplaced(store, name)
        elif name.startswith("layerof-"):
            removal.drop_orphan_layer(store, name)
        else:
            # `rm-<id>` may be a living monitor's own removal: two removals of one tree don't disturb each other.
            removal.finish(store, name.removeprefix("rm-"))
            doomed.append(name)
    if doomed:
        removal.drop_trees(store, doomed)


def _live(store: Store, before_burial: Callable[[Store], None] | None) -> set[str]:
    """Ids of the containers that have a monitor. What dead monitors left is cleaned up."""
    living: set[str] = set()
    dead: list[tuple[str, str]] = []
    for name in os.listdir(store.run_path("live")):
        pid, start, container_id = _parts(name)
        if process.alive(pid, start):
            living.add(container_id)
        else:
            dead.append((container_id, name))
    if dead and before_burial is not None:
        before_burial(store)
    for container_id, name in dead:
        _bury(store, container_id, name)
    return living


def _parts(name: str) -> tuple[int, int, str]:
    pid, _, rest = name.partition(".")
    start, _, container_id = rest.partition(".")
    if pid.isdigit() and start.isdigit():
        return int(pid), int(start), container_id
    return 0, 0, container_id


def _bury(store: Store, container_id: str, live_name: str) -> None:
    """A monitor died without its last words: end its container for good and write them for it."""
    row = store.db.row("SELECT id FROM containers WHERE id = ?", (container_id,))
    if row:
        try:
            with FolderLock(store.path("containers", container_id), "container", wait_s=0):
                _end(store, container_id)
        except Conflict:
            return
        except NotFound:
            _end(store, container_id)
    else:
        _end(store, container_id)
    _unlink(store.run_path("live", live_name))


def _end(store: Store, container_id: str) -> None:
    state = actual.state_file(store, container_id)
    init_pid, init_start = actual.pair(state.get("init", ""))
    if init_pid > 0 and process.alive(init_pid, init_start):
        # Its parent's death has killed it already, unless it was set-uid and so lost that signal.
        process.kill(init_pid, init_start)
    folder = store.path("containers", container_id)
    if os.path.isdir(folder) and not os.path.exists(folder + "/exit"):
        actual.write_exit(
            folder,
            code=137,
            error="the container's monitor was killed",
            started=state.get("started", ""),
            finished=actual.last_sign(store, container_id),
            restarts=int(state.get("restarts") or 0),
        )
        try:
            events.container(store, containers.find(store.db, container_id), "die", exitCode="137")
        except NotFound:
            pass  # a step of a build
    cgroup.remove(container_id)
    removal.drop_run_folder(store, container_id)


def _run_folders(store: Store, live: set[str]) -> None:
    """Run folders without a monitor: of starts that were cut short. Those being started are locked and left alone."""
    for name in os.listdir(store.run):
        if name in live or name in _NOT_CONTAINERS or len(name) != 64:
            continue
        try:
            with FolderLock(store.path("containers", name), "container", wait_s=0):
                # It may have got its monitor after the listing: then its folder is no longer ours to clean.
                if not any(n.endswith(name) for n in os.listdir(store.run_path("live"))):
                    cgroup.remove(name)
                    removal.drop_run_folder(store, name)
        except Conflict:
            continue
        except NotFound:
            cgroup.remove(name)
            removal.drop_run_folder(store, name)


def _auto_removed(store: Store, live: set[str]) -> None:
    rows = store.db.rows("SELECT id FROM containers WHERE auto_remove AND wanted != 'created'")
    being_made = removal.targets_of_markers(store, "create-") if any(container_id not in live for (container_id,) in rows) else set()
    for (container_id,) in rows:
        if container_id in live or container_id in being_made:
            continue
        try:
            row = containers.find(store.db, container_id)
        except NotFound:
            # Its own client has removed it since the rows were read.
            continue
        try:
            with FolderLock(store.path("containers", container_id), "container", wait_s=0):
                if not actual.read(store, row).alive:
                    removal.remove_locked(store, container_id)
        except Conflict:
            continue
        except NotFound:
            events.remove_row(store, store.db, container_id)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
