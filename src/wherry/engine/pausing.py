"""Pausing and going on: the kernel's freezer, by way of the monitor, which is the one that tells the state."""

from __future__ import annotations

from wherry.errors import Conflict, MonitorError
from wherry.kernel import cgroup
from wherry.runtime import wire
from wherry.runtime.wire import Control
from wherry.store import actual, containers, events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine import Engine


def pause(engine: Engine, name: str) -> None:
    """Stop all processes of a container where they stand. Raises Conflict: not running, paused already, no freezer."""
    row = containers.find(engine.store.db, name)
    status = actual.read(engine.store, row).status
    if status == "paused":
        raise Conflict(f"Container {row.id} is already paused")
    if status == "restarting":
        raise Conflict(f"Container {row.id} is restarting, wait until the container is running")
    if status != "running":
        raise Conflict(f"container {row.id} is not running")
    if not cgroup.of_controller(cgroup.places(row.id), "freezer")[0]:
        raise Conflict(
            f"cannot pause container {row.id}: this user has no control groups here, and only those can stop all processes at once",
            hint="use `kill -s STOP` for the first process alone; docs/guides/limits.md says who has control groups",
        )
    _ask(engine, row.id, 1, "pause")
    events.container(engine.store, row, "pause")


def unpause(engine: Engine, name: str) -> None:
    """Let a paused container go on. Raises Conflict."""
    row = containers.find(engine.store.db, name)
    if actual.read(engine.store, row).status != "paused":
        raise Conflict(f"Container {row.id} is not paused")
    _ask(engine, row.id, 0, "unpause")
    events.container(engine.store, row, "unpause")


def _ask(engine: Engine, container_id: str, on: int, verb: str) -> None:
    try:
        with Control(engine.store.run_path(container_id)) as control:
            control.ask(wire.PAUSE, wire.pack_i64(on))
    except MonitorError as error:
        raise Conflict(f"cannot {verb} container {container_id}: {error.message}") from error
