"""Devices by the Container Device Interface: `--device vendor.com/class=name`, `--gpus`. Specs are JSON in /etc/cdi and /run/cdi.

What a spec adds is looked up at each start, as docker does: a driver that was updated meanwhile has written another one.
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, NotFound, Unsupported
from wherry.model import jsontext
from wherry.model.mounts import MountSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FOLDERS = ("/etc/cdi", "/run/cdi")
_MAX_BYTES = 16 << 20
_GPUS = "nvidia.com/gpu"


def names(host: dict[str, Any]) -> list[str]:
    """The names of all devices that HostConfig.DeviceRequests ask for. Raises Unsupported."""
    found: list[str] = []
    for request in host.get("DeviceRequests") or ():
        ids = list(request.get("DeviceIDs") or ())
        if request.get("Driver") == "cdi":
            found += ids
            continue
        if ["gpu"] not in (request.get("Capabilities") or ()) and not any("gpu" in c for c in request.get("Capabilities") or ()):
            raise Unsupported(
                f"device request for {request.get('Capabilities')}: only `gpu` is known", hint="name it: --device vendor.com/class=name"
            )
        count = int(request.get("Count") or 0)
        wanted = ids or (["all"] if count < 0 else [str(n) for n in range(count or 1)])
        found += [f"{_GPUS}={name}" for name in wanted]
    return found


def applied(
    config: dict[str, Any], host: dict[str, Any], mounts: tuple[MountSpec, ...], warn: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Any], tuple[MountSpec, ...]]:
    """Config, HostConfig and mounts with what the devices add. Raises NotFound, InvalidArgument."""
    specs = _specs()
    edits: list[dict[str, Any]] = []
    for name in names(host):
        edits += _edits(specs, name)
    env, devices, groups = list(config.get("Env") or ()), list(host.get("Devices") or ()), list(host.get("GroupAdd") or ())
    more: list[MountSpec] = []
    for edit in edits:
        env += [text for text in edit.get("env") or () if text not in env]
        groups += [str(gid) for gid in edit.get("additionalGids") or () if gid]
        for node in edit.get("deviceNodes") or ():
            outside = node.get("hostPath") or node["path"]
            devices.append({"PathOnHost": outside, "PathInContainer": node["path"], "CgroupPermissions": node.get("permissions") or "rwm"})
        for mount in edit.get("mounts") or ():
            options = mount.get("options") or ()
            more.append(MountSpec("bind", mount["containerPath"], mount["hostPath"], read_only="ro" in options, options=tuple(options)))
        if edit.get("hooks"):
            warn("the device's hooks are not executed: what they do in the container (such as ldconfig) is left undone")
    return config | {"Env": env}, host | {"Devices": _once(devices), "GroupAdd": groups or None}, (*mounts, *more)


def _once(devices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({device["PathInContainer"]: device for device in devices}.values())


def _edits(specs: dict[str, list[dict[str, Any]]], name: str) -> list[dict[str, Any]]:
    kind, _, device = name.partition("=")
    for spec in specs.get(kind, ()):
        for entry in spec.get("devices") or ():
            if entry.get("name") == device:
                return [edit for edit in (spec.get("containerEdits"), entry.get("containerEdits")) if edit]
    there = sorted({e["name"] for spec in specs.get(kind, ()) for e in spec.get("devices") or ()})
    known = f"of {kind} there are {', '.join(there)}" if there else f"there are specs of {', '.join(sorted(specs)) or 'nothing'}"
    raise NotFound(f"CDI device injection failed: unresolvable CDI devices {name}", hint=f"in {' and '.join(FOLDERS)} {known}")


def _specs() -> dict[str, list[dict[str, Any]]]:
    """Kind → its specs, those of /run first: the later folder wins."""
    found: dict[str, list[dict[str, Any]]] = {}
    for folder in reversed(FOLDERS):
        try:
            files = sorted(os.listdir(folder))
        except OSError:
            continue
        for file in files:
            path = f"{folder}/{file}"
            if file.endswith((".yaml", ".yml")):
                # A parser of YAML is no dependency of ours; the tools that write specs write JSON as well.
                found.setdefault(f"(unread: {path} is YAML; write it as JSON, as `nvidia-ctk cdi generate --format json` does)", [])
            elif file.endswith(".json"):
                spec = _read(path)
                found.setdefault(str(spec.get("kind")), []).append(spec)
    return found


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            spec = jsontext.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"CDI spec {path}: {error}") from error
    if not isinstance(spec, dict) or not isinstance(spec.get("kind"), str):
        raise InvalidArgument(f"CDI spec {path}: it has no kind")
    return spec
