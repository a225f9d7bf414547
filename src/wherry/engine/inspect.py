"""`inspect` of a container: docker's keys in docker's types, the record with the state of the moment."""

from __future__ import annotations

import os

from wherry.engine import network_view
from wherry.model import times
from wherry.runtime import defaults
from wherry.store import actual, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine
    from wherry.store.actual import Actual
    from wherry.store.containers import ContainerRow


def inspect(engine: Engine, name: str, *, size: bool = False) -> dict[str, Any]:
    """A container as docker's API shows it. Raises NotFound."""
    store = engine.store
    row = containers.find(store.db, name)
    state = actual.read(store, row)
    record = row.record()
    config, host = record["Config"], record["HostConfig"]
    folder = store.path("containers", row.id)
    found: dict[str, Any] = {
        "Id": row.id,
        "Created": times.format_ns(row.created_ns),
        "Path": record["Path"],
        "Args": record["Args"],
        "State": _state(state) | _health(engine, row, record, state),
        "Image": row.image_id,
        "ResolvConfPath": folder + "/resolv.conf",
        "HostnamePath": folder + "/hostname",
        "HostsPath": folder + "/hosts",
        "LogPath": folder + "/log.json" if host["LogConfig"]["Type"] != "none" else "",
        "Name": "/" + row.name,
        "RestartCount": state.restarts,
        "Driver": "overlay2",
        # podman's names
        "ImageName": row.image_name,
        "Rootfs": record.get("Rootfs", {}).get("Path", ""),
        "Pod": "",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": _exec_ids(engine, row, state),
        "HostConfig": _host_config(record, host),
        "GraphDriver": _graph_driver(engine, row),
        "Mounts": [_mount(engine, m) for m in record.get("Mounts") or ()],
        "Config": config,
        "NetworkSettings": network_view.settings(store, row, record, alive=state.alive, pid=state.pid),
        "Wherry": _own(engine, row, state, record),
    }
    if size:
        from wherry.engine.lifecycle import tree_bytes
        from wherry.engine.listing import layers_bytes

        found["SizeRw"] = tree_bytes(folder + "/over/upper")
        found["SizeRootFs"] = found["SizeRw"] + layers_bytes(engine, row)
    return found


def _state(state: Actual) -> dict[str, Any]:
    return {
        "Status": state.status,
        "Running": state.alive and state.status != "restarting",
        "Paused": state.status == "paused",
        "Restarting": state.status == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": False,
        "Pid": state.pid,
        "ExitCode": state.exit_code if state.status != "running" else 0,
        "Error": state.error,
        "StartedAt": state.started,
        "FinishedAt": state.finished,
    }


def _health(engine: Engine, row: ContainerRow, record: dict[str, Any], state: Actual) -> dict[str, Any]:
    if "Healthcheck" not in record["Config"]:
        return {}
    from wherry.engine import health

    found = health.shown(engine.store, row, state)
    return {"Health": found} if found else {}


def _exec_ids(engine: Engine, row: ContainerRow, state: Actual) -> list[str] | None:
    if not state.alive:
        return None
    try:
        return sorted(os.listdir(engine.store.run_path(row.id, "exec"))) or None
    except FileNotFoundError:
        return None


def _host_config(record: dict[str, Any], host: dict[str, Any]) -> dict[str, Any]:
    unmasked = host.get("Privileged") or "unmask=ALL" in (host.get("SecurityOpt") or ())
    shown = dict(host)
    shown["MaskedPaths"] = None if unmasked else list(defaults.masked_paths())
    shown["ReadonlyPaths"] = None if unmasked else list(defaults.READONLY_PATHS)
    if not shown.get("CgroupnsMode"):
        shown["CgroupnsMode"] = "private"
    if not shown.get("IpcMode"):
        shown["IpcMode"] = "private"
    return shown


def _graph_driver(engine: Engine, row: ContainerRow) -> dict[str, Any]:
    store = engine.store
    over = store.path("containers", row.id, "over")
    return {
        "Name": "overlay2",
        "Data": {
            "LowerDir": ":".join(store.path("layers", str(n)) for n in row.layer_numbers()),
            "UpperDir": over + "/upper",
            "WorkDir": over + "/work",
            # The merged view exists in the container's own mount namespace only.
            "MergedDir": "",
        },
    }


def _mount(engine: Engine, mount: dict[str, Any]) -> dict[str, Any]:
    options = [o for o in mount.get("options") or () if o and "=" not in o]
    kind = mount["type"]
    named: dict[str, Any] = {}
    source = mount["source"]
    if kind == "volume":
        from wherry.store import volumes

        row = volumes.get(engine.store.db, source)
        named = {"Name": source}
        source = volumes.data(engine.store, source)
    return {
        "Type": kind,
        **named,
        "Source": source,
        "Destination": mount["target"],
        **({"Driver": row.driver if row else "local"} if named else {}),
        "Mode": ",".join(options) or ("z" if named and mount["origin"] == "-v" else ""),
        "RW": not mount["read_only"],
        "Propagation": mount["propagation"] or ("rprivate" if mount["type"] == "bind" else ""),
    }


def _own(engine: Engine, row: ContainerRow, state: Actual, record: dict[str, Any]) -> dict[str, Any]:
    """What docker has no word for: ids, and which isolation is not in force."""
    from wherry.engine import limits, modes
    from wherry.kernel import userns

    mapping = userns.current()
    host = record["HostConfig"]
    start = record.get("IdRange")
    if start is not None:
        ids = {"Mode": "range", "HostStart": start, "Count": 65536}
    elif modes.joined_container(host):
        ids = {"Mode": "joined", "Container": modes.joined_container(host)}
    elif mapping.mode == "host":
        ids = {"Mode": "host"}
    else:
        ids = {"Mode": mapping.mode, "UidMap": [list(t) for t in mapping.uids], "GidMap": [list(t) for t in mapping.gids]}
    return {
        "Ids": ids,
        "NotInForce": limits.lacking(host),
        "PlainBinds": [text.removeprefix("plain:") for text in state.plain_binds],
        "MonitorPid": state.monitor_pid,
        "Secrets": record.get("Secrets") or [],
    }
