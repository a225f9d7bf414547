"""`update`: other limits and another restart policy, for a container that runs as for one that doesn't."""

from __future__ import annotations

import errno
import os

from wherry.engine import limits as said
from wherry.errors import Conflict, HostError, InvalidArgument, MonitorError
from wherry.kernel import cgroup
from wherry.runtime import limits, wire
from wherry.runtime.wire import Control
from wherry.store import actual, containers, events
from wherry.store.locks import FolderLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine


def update(engine: Engine, name: str, changes: dict[str, Any], restart: dict[str, Any] | None = None) -> list[str]:
    """Change HostConfig's limits as `changes` says (0 and "" leave what is there), and the restart policy.

    Sentences on what is not in force. Raises NotFound, InvalidArgument, Conflict.
    """
    store = engine.store
    row = containers.find(store.db, name)
    with FolderLock(store.path("containers", row.id), f"container: {row.name}"):
        row = containers.find(store.db, row.id)
        record = row.record()
        host = record["HostConfig"]
        new = _merged(host, changes, row.id)
        if restart is not None:
            if row.auto_remove and restart["Name"] != "no":
                raise InvalidArgument("Restart policy cannot be updated because AutoRemove is enabled for the container")
            new["RestartPolicy"] = restart
        state = actual.read(store, row)
        warnings = _apply(row.id, host, new, state.status) if state.pid else []
        if restart is not None and state.alive:
            _tell_policy(store.run_path(row.id), restart, row.id)
        record["HostConfig"] = new
        with store.db.transaction() as db:
            containers.set_record(db, row.id, record)
    events.container(store, row, "update")
    return warnings


def _merged(host: dict[str, Any], changes: dict[str, Any], container_id: str) -> dict[str, Any]:
    given = {key: value for key, value in changes.items() if value or key == "PidsLimit"}
    if given.get("PidsLimit") == 0:
        given["PidsLimit"] = -1
    new = host | given
    for one, other in (("NanoCpus", "CpuQuota"), ("NanoCpus", "CpuPeriod")):
        if given.get(one) and host.get(other) or given.get(other) and host.get(one):
            was = "Nano CPUs" if host.get("NanoCpus") else "CPU quota"
            raise Conflict(f"Cannot update container {container_id}: Conflicting options: {one} and {other}: {was} has already been set")
    if given.get("Memory") and not given.get("MemorySwap") and 0 < int(host.get("MemorySwap") or 0) < given["Memory"]:
        raise Conflict(
            f"Cannot update container {container_id}: Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time"
        )
    return limits.checked(new)


def _apply(container_id: str, old: dict[str, Any], new: dict[str, Any], status: str) -> list[str]:
    """Write into the groups what differs. What they can't take is put back, so that it is all or nothing."""
    groups = cgroup.places(container_id, cpuset=limits.wants_cpuset(old))
    version = groups[0][0] if groups else 2
    before = {s.file + _device_of(s.value): s for s in limits.settings(old, version)}
    wanted = [s for s in limits.settings(new, version) if before.get(s.file + _device_of(s.value)) != s]
    # The warnings are of what was asked for now.
    warnings = [text for text in said.not_in_force(new, groups) if any(s.flag and s.flag in text for s in wanted)]
    if version == 1 and limits.wants_cpuset(new) and not limits.wants_cpuset(old):
        warnings.append(
            "--cpuset-cpus, --cpuset-mems: in force from the next start: with control groups of version 1 they are made at a start"
        )
    todo = []
    for setting in wanted:
        path, _parent = cgroup.of_controller(groups, setting.controller)
        file = f"{path}/{setting.file}"
        if path and os.path.exists(file):
            todo.append((file, setting))
    done: list[tuple[str, str]] = []
    for file, setting in _in_order(todo):
        was = cgroup.read(file)
        try:
            cgroup.write(file, setting.value or "0")
        except OSError as error:
            for path, value in reversed(done):
                cgroup.write(path, value)
            if error.errno == errno.ENOENT:
                raise Conflict(f"container {container_id} is not running") from error
            raise HostError(
                f"Cannot update container {container_id}: {setting.flag}: {os.path.basename(file)} {setting.value}: {os.strerror(error.errno or 0)}",
                hint="the container uses more memory than that" if error.errno == errno.EBUSY else "",
            ) from error
        done.append((file, was))
    return warnings


def _device_of(value: str) -> str:
    """A setting of one device is a line of its own in a file."""
    first = value.split(" ")[0]
    return first if ":" in first else ""


def _in_order(todo: list[tuple[str, limits.Setting]]) -> list[tuple[str, limits.Setting]]:
    """v1 wants memory ≤ memory and swap at any instant: what grows, grows from the outer one in."""
    names = [setting.file for _file, setting in todo]
    if "memory.memsw.limit_in_bytes" in names and "memory.limit_in_bytes" in names:
        file = next(f for f, s in todo if s.file == "memory.limit_in_bytes")
        value = next(s.value for f, s in todo if s.file == "memory.limit_in_bytes")
        now = cgroup.read(file)
        if now.isdigit() and int(value) > int(now):
            return sorted(todo, key=lambda item: item[1].file != "memory.memsw.limit_in_bytes")
    return todo


def _tell_policy(run_folder: str, restart: dict[str, Any], container_id: str) -> None:
    try:
        with Control(run_folder) as control:
            control.ask(wire.POLICY, restart["Name"].encode() + b"\0" + wire.pack_i64(int(restart["MaximumRetryCount"])))
    except MonitorError as error:
        raise Conflict(f"Cannot update container {container_id}: {error.message}") from error
