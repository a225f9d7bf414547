"""Namespace modes, networks, log drivers and mounts of a new container: checked, and brought into the form the record keeps."""

from __future__ import annotations

import os

from wherry.errors import Conflict, InvalidArgument, Unsupported
from wherry.kernel import userns
from wherry.model import config
from wherry.model.mounts import MountSpec
from wherry.runtime import limits
from wherry.store import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine
    from wherry.store import Store

_JOINING = ("NetworkMode", "PidMode", "IpcMode", "UTSMode")


def checked(store: Store, host: dict[str, Any], engine: Engine) -> dict[str, Any]:
    """A copy of HostConfig with every mode understood and `container:NAME` turned into `container:<id>`.

    Raises InvalidArgument, Unsupported, Conflict, NotFound.
    """
    host = dict(host)
    for key in _JOINING:
        host[key] = _joined(store, key, host.get(key) or "")
    host["NetworkMode"] = host.get("NetworkMode") or "default"
    _user_namespace(host)
    _restart(host)
    _log(host)
    return limits.checked(host)


def _joined(store: Store, key: str, mode: str) -> str:
    if not mode.startswith("container:"):
        return mode
    if key == "UTSMode":
        raise InvalidArgument(f"invalid UTS mode: {mode}", hint="--uts takes only `host`")
    return "container:" + containers.find(store.db, mode[len("container:") :]).id


def _user_namespace(host: dict[str, Any]) -> None:
    mode = host.get("UsernsMode") or ""
    if mode not in ("", "host"):
        raise Unsupported(
            f"--userns={mode} is not supported yet", hint="leave it out for a user namespace of the container's own, or use --userns=host"
        )


def _restart(host: dict[str, Any]) -> None:
    policy = host.get("RestartPolicy") or {}
    name = policy.get("Name") or "no"
    if host.get("AutoRemove") and name != "no":
        raise Conflict("can't create 'AutoRemove' container with restart policy")
    host["RestartPolicy"] = {"Name": name, "MaximumRetryCount": int(policy.get("MaximumRetryCount") or 0)}


def _log(host: dict[str, Any]) -> None:
    log = host.get("LogConfig") or {}
    driver = log.get("Type") or "json-file"
    options = dict(log.get("Config") or {})
    if driver not in ("json-file", "none") or set(options) - {"max-size", "max-file"}:
        from wherry.engine import logdrivers

        driver, options = logdrivers.checked(driver, options)
    elif driver == "none" and options:
        raise InvalidArgument(f"unknown log opt '{next(iter(options))}' for none log driver")
    if driver != "none":
        # docker leaves its logs unbounded; ours rotate, as users keep asking for (moby#40207).
        settings = config.settings()
        options = {"max-size": settings["log_max_size"].value, "max-file": str(settings["log_max_file"].value)} | options
    host["LogConfig"] = {"Type": driver, "Config": options}


def hostname(store: Store, host: dict[str, Any], container_id: str) -> str:
    """docker's default: the short id; the host's own name where the host's UTS or network namespace is used."""
    if host.get("UTSMode") == "host" or host["NetworkMode"] == "host":
        return os.uname().nodename
    if host["NetworkMode"].startswith("container:"):
        other = containers.find(store.db, host["NetworkMode"][len("container:") :])
        return str(other.record()["Config"].get("Hostname") or container_id[:12])
    return container_id[:12]


def joined_container(host: dict[str, Any]) -> str:
    """The id of the container whose namespaces this one joins, "" for none."""
    for key in _JOINING:
        mode = host.get(key) or ""
        if mode.startswith("container:"):
            return str(mode[len("container:") :])
    return ""


def uses_host_ids(host: dict[str, Any]) -> bool:
    """Whether the container asked for the engine's own user namespace (DESIGN: userns=host, privileged and network=host do)."""
    return bool(host.get("UsernsMode") == "host" or host.get("Privileged") or host["NetworkMode"] == "host")


def wants_own_ids(store: Store, host: dict[str, Any]) -> bool:
    """Whether the container leases a range of host ids: those of root, unless they use the host's or another one's."""
    if os.environ.get(userns.MARK) == "1":
        # Inside of `unshare` there are the user's ids and no others.
        return False
    return store.uid == 0 and userns.current().mode == "host" and not uses_host_ids(host) and not joined_container(host)


def foreign_ranges() -> tuple[tuple[int, int], ...]:
    """(start, count) of every range that /etc/subuid and /etc/subgid give to somebody."""
    from wherry.kernel import subids

    return subids.all_ranges()


def checked_mounts(mounts: tuple[MountSpec, ...], config: dict[str, Any]) -> list[dict[str, Any]]:
    """The mounts of a container as its record keeps them: MountSpec's fields. Raises InvalidArgument, Unsupported."""
    seen: set[str] = set()
    found = []
    for mount in mounts:
        target = os.path.normpath("/" + mount.target.lstrip("/"))
        if target in seen:
            raise InvalidArgument(f"Duplicate mount point: {target}")
        seen.add(target)
        if mount.type == "bind" and not mount.create_source and not os.path.lexists(mount.source):
            raise InvalidArgument(f'invalid mount config for type "bind": bind source path does not exist: {mount.source}')
        found.append({name: getattr(mount, name) for name in MountSpec._fields_} | {"target": target})
    return found


def mount_specs(record: dict[str, Any]) -> tuple[MountSpec, ...]:
    """MountSpecs out of a container's record."""
    return tuple(_mount_spec(mount) for mount in record.get("Mounts") or ())


def _mount_spec(mount: dict[str, Any]) -> MountSpec:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in mount.items() if k in MountSpec._fields_}
    return MountSpec(**fields)
