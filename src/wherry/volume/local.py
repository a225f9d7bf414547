"""The local driver: a folder of the store, or what mount(8) would make of type, device and o.

docker's rules (moby, volume/local/local_unix.go). Its mounts of the host are made once and shared; ours are made in a mount namespace
of a process of their own (volume/holder.py), which ends with the last container that uses it, or are plain binds.
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, NotFound, Unsupported
from wherry.kernel import userns
from wherry.store import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.model.mounts import MountSpec
    from wherry.store import Store
    from wherry.store.volumes import VolumeRow

_OPTIONS = ("type", "device", "o", "size")
# moby's own table: which option needs which others.
_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}


def check(name: str, options: dict[str, str]) -> None:
    """Raises InvalidArgument with docker's words, Unsupported where this user can't have it."""
    for key in options:
        if key not in _OPTIONS:
            raise InvalidArgument(f'create {name}: invalid option: "{key}"')
    if "size" in options or any(word.startswith("size=") for word in _words(options)) and not _is_tmpfs(options):
        raise Unsupported(
            f"create {name}: a quota for a local volume needs project quotas of the file system, which are not supported",
            hint="for a volume in memory: -o type=tmpfs -o device=tmpfs -o o=size=…; else a file system of that size by type and device",
        )
    for key, needed in _NEEDS.items():
        for other in needed if key in options else ():
            if not options.get(other):
                raise InvalidArgument(f'create {name}: missing required option: "{other}"')
    if options and not is_bind(options) and not _is_tmpfs(options) and userns.current().mode != "host":
        raise Unsupported(
            f"create {name}: only root can mount a file system of type {options['type']}",
            hint="without root there are binds (-o type=none -o o=bind -o device=/path) and tmpfs (-o type=tmpfs -o device=tmpfs)",
        )


def _words(options: dict[str, str]) -> list[str]:
    return [w for w in options.get("o", "").split(",") if w]


def is_bind(options: dict[str, str]) -> bool:
    return any(word in ("bind", "rbind") for word in _words(options)) or options.get("type") == "bind"


def _is_tmpfs(options: dict[str, str]) -> bool:
    return options.get("type") == "tmpfs"


def prepare(store: Store, name: str, options: dict[str, str]) -> dict[str, Any]:
    return {}


def locate(store: Store, container_id: str, row: VolumeRow, mount: MountSpec) -> MountSpec:
    """The mount with its source. Raises NotFound, HostError."""
    options = row.options()
    if not options:
        return mount.replace(source=volumes.data(store, row.name))
    if is_bind(options):
        if not os.path.exists(options["device"]):
            raise NotFound(
                f"error while mounting volume '{volumes.data(store, row.name)}': failed to mount local volume: mount "
                f"{options['device']}:{volumes.data(store, row.name)}, flags: 0x1000: no such file or directory"
            )
        return mount.replace(source=options["device"], read_only=mount.read_only or "ro" in _words(options))
    from wherry.volume import holder

    found: MountSpec = holder.mounted(store, container_id, row, mount, options["type"], options["device"], options.get("o", ""))
    return found


def inspect(store: Store, row: VolumeRow) -> dict[str, Any]:
    return {}


def settle(store: Store, row: VolumeRow) -> list[list[Any]]:
    return []


def removed(store: Store, row: VolumeRow) -> None:
    return
