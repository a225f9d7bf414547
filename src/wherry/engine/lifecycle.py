"""Stopping, killing, removing, renaming, waiting."""

from __future__ import annotations

import os
import time

from wherry.engine import launch
from wherry.errors import Conflict, InvalidArgument, MonitorError, NotFound, WherryError
from wherry.kernel import cgroup, process
from wherry.model import names, signals
from wherry.runtime import wire
from wherry.runtime.wire import Control
from wherry.store import actual, containers, events, removal
from wherry.store.locks import FolderLock

TYPE_CHECKING = False
# In the labels of a working container (engine/working.py).
MARK = '"io.wherry.working"'
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.engine import Engine
    from wherry.store import Store
    from wherry.store.actual import Actual
    from wherry.store.containers import ContainerRow

DEFAULT_STOP_TIMEOUT_S = 10
_SIGKILL = 9
_SIGTERM = 15
# By hand: no restart policy brings it back.
_BY_HAND = 1


def stop(engine: Engine, name: str, *, timeout_s: int | None, signal: str) -> None:
    """End a container: its stop signal, then KILL after the time-out (-1: never). Nothing happens if it is not running."""
    store = engine.store
    row = containers.find(store.db, name)
    control = _ask_to_stop(store, row, timeout_s, signal)
    if control is not None:
        _wait_for_end(store, row, control, stopped=True)
        settle_volumes(engine, row)
    _finish_auto_removed(store, row)


def _ask_to_stop(store: Store, row: ContainerRow, timeout_s: int | None, signal: str) -> Control | None:
    """Tell the monitor; the connection on which the end will be seen, or None when there is nothing to stop."""
    containers.set_wanted(store.db, row.id, "stopped")
    state = actual.read(store, row)
    if not state.alive:
        if row.wanted == "created":
            containers.set_wanted(store.db, row.id, "created")
        return None
    config = row.record()["Config"]
    number = _signal_number(signal or config.get("StopSignal") or "SIGTERM")
    if timeout_s is None:
        configured = config.get("StopTimeout")
        timeout_s = DEFAULT_STOP_TIMEOUT_S if configured is None else int(configured)
    try:
        control = Control(store.run_path(row.id))
        events.container(store, row, "kill", signal=str(number))
        control.ask(wire.STOP, wire.pack_i64(number, -1 if timeout_s < 0 else timeout_s * 1000))
        return control
    except MonitorError:
        _kill_without_monitor(store, row, state)
        return None


def _wait_for_end(store: Store, row: ContainerRow, control: Control, *, stopped: bool = False) -> None:
    with control:
        control.drain()
    # The monitor closes its sockets as the last thing before it exits; its pid may need a moment more.
    state = actual.read(store, row)
    if state.alive:
        _until_gone(state.monitor_pid, state.monitor_start)
    if stopped:
        events.container(store, row, "stop")


def _until_gone(pid: int, start: int, wait_s: float = 5.0) -> None:
    deadline = time.monotonic() + wait_s
    while process.alive(pid, start) and time.monotonic() < deadline:
        time.sleep(0.0005)


def _kill_without_monitor(store: Store, row: ContainerRow, state: Actual) -> None:
    """The monitor does not answer: end it and, with it, the container (its init dies with its parent)."""
    for pid, start in ((state.monitor_pid, state.monitor_start), (state.pid, state.pid_start)):
        if pid > 0 and process.alive(pid, start):
            process.kill(pid, start)
            _until_gone(pid, start)
    from wherry.engine.network_launch import bury
    from wherry.store.sweep import sweep

    sweep(store, bury)


def _finish_auto_removed(store: Store, row: ContainerRow) -> None:
    """A `--rm` container is gone when `stop` returns: its monitor may have left the row to a client that isn't there."""
    if not row.auto_remove:
        return
    with store.db.transaction(durable=False) as db:
        if not os.path.isdir(store.path("containers", row.id)):
            events.remove_row(store, db, row.id)


def stop_many(engine: Engine, given: list[str], *, timeout_s: int | None, signal: str) -> Iterator[tuple[str, WherryError | None]]:
    """Stop several at once: all are told first, then waited for in the order given."""
    waiting: list[tuple[str, ContainerRow | None, Control | None, WherryError | None]] = []
    for name in given:
        try:
            row = containers.find(engine.store.db, name)
            waiting.append((name, row, _ask_to_stop(engine.store, row, timeout_s, signal), None))
        except WherryError as error:
            waiting.append((name, None, None, error))
    for name, found, control, failure in waiting:
        if found is not None:
            if control is not None:
                _wait_for_end(engine.store, found, control, stopped=True)
                settle_volumes(engine, found)
            _finish_auto_removed(engine.store, found)
        yield name, failure


def settle_volumes(engine: Engine, row: ContainerRow) -> None:
    """Volumes whose data lie elsewhere: wait, with a limit, until what the container wrote is there; what is not is told."""
    if '"volume"' in row.record_text:
        from wherry.engine.volume_launch import settle

        settle(engine, row)


def restart(engine: Engine, name: str, *, timeout_s: int | None, signal: str) -> None:
    row = containers.find(engine.store.db, name)
    state = actual.read(engine.store, row)
    if state.alive:
        if row.auto_remove:
            raise Conflict(f"container {row.id} was started with --rm: stopping it would remove it", hint="use `stop` and `run` again")
        stop(engine, row.id, timeout_s=timeout_s, signal=signal)
    launch.launch(engine, containers.find(engine.store.db, row.id), None)
    events.container(engine.store, row, "restart")


def kill(engine: Engine, name: str, signal: str) -> None:
    """Send a signal to a container's first process. By docker's rule it then counts as stopped by hand."""
    store = engine.store
    number = _signal_number(signal or "KILL")
    row = containers.find(store.db, name)
    state = actual.read(store, row)
    if state.status not in ("running", "paused", "restarting"):
        raise Conflict(f"cannot kill container: {name}: container {row.id} is not running")
    events.container(store, row, "kill", signal=str(number))
    ends = number in (_SIGKILL, _SIGTERM)
    if ends:
        containers.set_wanted(store.db, row.id, "stopped")
    try:
        with Control(store.run_path(row.id)) as control:
            if number == _SIGKILL:
                # STOP with KILL ends a container that waits for its next start, too.
                control.ask(wire.STOP, wire.pack_i64(number, 0))
                control.drain()
                _until_gone(state.monitor_pid, state.monitor_start)
                _finish_auto_removed(store, row)
            else:
                control.ask(wire.SIGNAL, wire.pack_i64(number, _BY_HAND if ends else 0))
    except MonitorError as error:
        if number != _SIGKILL:
            raise MonitorError(f"cannot kill container: {name}: {error.message}") from error
        _kill_without_monitor(store, row, state)


def _signal_number(text: str) -> int:
    number = signals.number(text)
    if number is None:
        raise InvalidArgument(f"invalid signal: {text}")
    return number


def remove(engine: Engine, name: str, *, force: bool, volumes: bool = False) -> None:
    """Remove a container with its files. A running one only with `force`, which kills it."""
    store = engine.store
    row = containers.find(store.db, name)
    for _name, error in remove_many(engine, [row.id], force=force, volumes=volumes):
        if error is not None:
            raise error


def _prepare_removal(store: Store, row: ContainerRow, force: bool) -> Control | None:
    state = actual.read(store, row)
    if not state.alive:
        return None
    if not force:
        if state.status == "paused":
            raise Conflict(f'cannot remove container "{row.name}": container is paused and must be unpaused first')
        raise Conflict(f'cannot remove container "{row.name}": container is running: stop the container before removing or force remove')
    containers.set_wanted(store.db, row.id, "stopped")
    try:
        control = Control(store.run_path(row.id))
        events.container(store, row, "kill", signal=str(_SIGKILL))
        control.ask(wire.STOP, wire.pack_i64(_SIGKILL, 0))
        return control
    except MonitorError:
        _kill_without_monitor(store, row, state)
        return None


def remove_many(engine: Engine, given: list[str], *, force: bool, volumes: bool = False) -> Iterator[tuple[str, WherryError | None]]:
    """Remove several: all that run are killed first, so that their ends overlap."""
    store = engine.store
    waiting: list[tuple[str, ContainerRow | None, Control | None, WherryError | None]] = []
    for name in given:
        try:
            row = containers.find(store.db, name)
            waiting.append((name, row, _prepare_removal(store, row, force), None))
        except WherryError as error:
            waiting.append((name, None, None, error))
    gone: list[ContainerRow] = []
    outcomes: list[tuple[str, WherryError | None]] = []
    for name, found, control, failure in waiting:
        if found is not None:
            try:
                _set_aside(store, found, control)
                gone.append(found)
            except WherryError as error:
                failure = error
        outcomes.append((name, failure))
    _forget(store, gone, volumes=volumes)
    yield from outcomes


def _set_aside(store: Store, row: ContainerRow, control: Control | None) -> None:
    if control is not None:
        _wait_for_end(store, row, control)
    try:
        with FolderLock(store.path("containers", row.id), f"container: {row.name}"):
            if actual.read(store, row).alive:
                raise Conflict(f'cannot remove container "{row.name}": it was started again meanwhile')
            cgroup.remove(row.id)
            removal.set_aside(store, row.id)
    except WherryError as error:
        if error.id != "not-found":
            raise


def _forget(store: Store, rows: list[ContainerRow], *, volumes: bool = False) -> None:
    """Delete the rows in one transaction, then take the trees apart with one helper."""
    if not rows:
        return
    with store.db.transaction() as db:
        for row in rows:
            events.remove_row(store, db, row.id, volumes=volumes)
    for row in rows:
        removal.drop_run_folder(store, row.id)
    removal.drop_trees(store, [f"rm-{row.id}" for row in rows])
    drop_doomed_volumes(store)


def drop_doomed_volumes(store: Store) -> None:
    """Remove the anonymous volumes of containers that are gone now. One small query where there are none."""
    if store.db.row("SELECT 1 FROM volumes WHERE doomed"):
        from wherry.store import volumes

        volumes.drop_doomed(store)


def rename(engine: Engine, name: str, new: str) -> None:
    store = engine.store
    row = containers.find(store.db, name)
    if not new or not names.is_valid(new[1:] if new.startswith("/") else new):
        raise InvalidArgument(f"Invalid container name ({new}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    new = new[1:] if new.startswith("/") else new
    if new == row.name:
        raise InvalidArgument("Renaming a container with the same name as its current name")
    with store.db.transaction() as db:
        containers.rename(db, row.id, new)
    renamed = row.replace(name=new)
    events.describe(store, renamed)
    events.container(store, renamed, "rename", oldName="/" + row.name)
    attached = store.db.rows("SELECT network_id FROM endpoints WHERE container_id = ? AND owner != ''", (row.id,))
    for (network_id,) in attached:
        from wherry.engine import network_names

        network_names.write(store, network_id)


def wait(engine: Engine, name: str, condition: str) -> int:
    """Wait until a container is in `condition` ("" or stopped: not running; next-exit; removed; or a state, or a health). Its exit code.

    Raises NotFound when it is removed meanwhile, Conflict when it ends and is to be healthy or unhealthy.
    """
    store = engine.store
    row = containers.find(store.db, name)
    if condition in ("created", "running", "paused", "restarting", "healthy", "unhealthy"):
        return _until_in(store, row, condition)
    if condition not in ("", "stopped", "not-running", "exited", "next-exit", "removed"):
        raise InvalidArgument(
            f"invalid condition: {condition!r}", hint="stopped, running, paused, healthy, unhealthy, next-exit or removed"
        )
    code = _code_at_the_end(store, row, next_exit=condition == "next-exit")
    if condition == "removed":
        while store.db.row("SELECT 1 FROM containers WHERE id = ?", (row.id,)) is not None:
            time.sleep(0.02)
    return code


def _until_in(store: Store, row: ContainerRow, condition: str) -> int:
    while True:
        state = actual.read(store, row)
        if condition in (state.status, state.health):
            return 0 if state.alive else state.exit_code
        if not state.alive and condition.endswith("healthy"):
            raise Conflict(f"container {row.id} is not running: it can't become {condition}")
        if store.db.row("SELECT 1 FROM containers WHERE id = ?", (row.id,)) is None:
            raise NotFound(f"No such container: {row.name}")
        time.sleep(0.02)


def _code_at_the_end(store: Store, row: ContainerRow, *, next_exit: bool) -> int:
    state = actual.read(store, row)
    while next_exit and not state.alive:
        time.sleep(0.02)
        state = actual.read(store, row)
    if state.alive:
        try:
            with Control(store.run_path(row.id)) as control:
                answer = control.ask(wire.NEXT_EXIT if next_exit else wire.WAIT)
                if answer and wire.kind_of(answer) == wire.EXIT:
                    return wire.i64(answer, 0)
        except MonitorError:
            # It ended between the two looks; what it left behind tells.
            pass
        state = actual.read(store, row)
    return state.exit_code


def prune(engine: Engine, filters: dict[str, list[str]]) -> tuple[list[str], int]:
    """Remove the containers that don't run and that the filters (until, label, label!) keep. Ids and bytes freed."""
    from wherry.engine import filtering

    store = engine.store
    chosen = filtering.for_prune(filters)
    doomed: list[ContainerRow] = []
    freed = 0
    for row in containers.everything(store.db):
        if MARK in row.labels_text or actual.read(store, row).alive or not chosen(row.created_ns, row.labels()):
            continue
        freed += tree_bytes(store.path("containers", row.id, "over", "upper"))
        _set_aside(store, row, None)
        doomed.append(row)
    _forget(store, doomed)
    return [row.id for row in doomed], freed


def tree_bytes(path: str) -> int:
    """Bytes of the plain files below `path`, as docker's SIZE counts them; what we may not read counts as nothing."""
    total = 0
    folders = [path]
    while folders:
        try:
            entries = os.scandir(folders.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
                except OSError:
                    continue  # a running container has just removed it
    return total
