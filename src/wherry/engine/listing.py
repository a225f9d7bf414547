"""`ps`: containers with their states, in docker's words."""

from __future__ import annotations

import time

from wherry.engine import filtering
from wherry.model import duration, times
from wherry.model.container import ContainerSummary
from wherry.store import actual, containers

TYPE_CHECKING = False
# In the labels of a working container (engine/working.py).
MARK = '"io.wherry.working"'
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine
    from wherry.store.actual import Actual
    from wherry.store.containers import ContainerRow


def listing(engine: Engine, *, all: bool, last: int, filters: dict[str, list[str]], size: bool) -> list[ContainerSummary]:
    """Newest first. `last` N: only the N last created, whatever their state (-1: no limit)."""
    store = engine.store
    chosen = filtering.for_list(engine, filters)
    stopped_too = all or last >= 0 or filtering.shows_stopped(filters)
    found: list[ContainerSummary] = []
    for row in containers.everything(store.db, with_record=True):
        if last >= 0 and len(found) >= last:
            break
        if MARK in row.labels_text:
            # Image builders' working containers are no containers that somebody runs: `buildah containers` has them.
            continue
        state = actual.read(store, row)
        if not (stopped_too or state.alive) or not chosen(row, state):
            continue
        found.append(_summary(engine, row, state, size))
    return found


def _summary(engine: Engine, row: ContainerRow, state: Actual, size: bool) -> ContainerSummary:
    read_write = root = -1
    if size:
        from wherry.engine.lifecycle import tree_bytes

        read_write = tree_bytes(engine.store.path("containers", row.id, "over", "upper"))
        root = read_write + layers_bytes(engine, row)
    record = row.record()
    mounts = record.get("Mounts") or ()
    attached, ports = _networks(engine, row, record, state)
    return ContainerSummary(
        id=row.id,
        names=(row.name,),
        image=row.image_name,
        image_id=row.image_id,
        command=row.command,
        created_ns=row.created_ns,
        status_text=status_text(state),
        state=state.status,
        ports_text=ports,
        health=state.health,
        size_rw=read_write,
        size_rootfs=root,
        labels=row.labels(),
        mounts=tuple(m["source"] or m["target"] for m in mounts),
        networks=attached,
        local_volumes=sum(m["type"] == "volume" for m in mounts),
    )


def _networks(engine: Engine, row: ContainerRow, record: dict[str, Any], state: Actual) -> tuple[tuple[str, ...], str]:
    """Names of the networks, and docker's PORTS column: of a container that runs."""
    mode = record["HostConfig"]["NetworkMode"]
    if mode in ("none", "host") or mode.startswith("container:"):
        return () if ":" in mode else (mode,), ""
    db = engine.store.db
    names = db.rows(
        "SELECT coalesce(n.name, e.network_id) FROM endpoints e LEFT JOIN networks n ON n.id = e.network_id WHERE e.container_id = ? "
        "ORDER BY e.position",
        (row.id,),
    )
    text = ""
    exposed = record["Config"].get("ExposedPorts") or {}
    if state.alive and (exposed or record["HostConfig"].get("PortBindings") or record["HostConfig"].get("PublishAllPorts")):
        from wherry.engine.network_view import ports_text

        published = db.rows("SELECT protocol, port, host_ip, host_port FROM ports WHERE container_id = ?", (row.id,))
        text = ports_text(list(exposed), published)
    return tuple(name for (name,) in names), text


def layers_bytes(engine: Engine, row: ContainerRow) -> int:
    numbers = row.layer_numbers()
    marks = ",".join("?" * len(numbers))
    found = engine.store.db.row(f"SELECT coalesce(sum(size_bytes), 0) FROM layers WHERE id IN ({marks})", numbers)
    return int(found[0])


def status_text(state: Actual) -> str:
    """docker's STATUS column (moby, container/state.go)."""
    if state.status == "created":
        return "Created"
    if state.status == "removing":
        return "Removal In Progress"
    if state.status == "restarting":
        return f"Restarting ({state.exit_code}) {_since(state.finished)} ago"
    if state.status == "paused":
        return f"Up {_since(state.started)} (Paused)"
    if state.status == "running":
        health = {"": "", "starting": " (health: starting)"}.get(state.health, f" ({state.health})")
        return f"Up {_since(state.started)}{health}"
    return f"Exited ({state.exit_code}) {_since(state.finished)} ago"


def _since(stamp: str) -> str:
    return duration.human(max(0, time.time_ns() - times.parse_ns(stamp)))
