"""What the command line wishes of a build's steps and of its cache: records that cost nothing to make."""

from __future__ import annotations

from wherry.errors import InvalidArgument, Unsupported
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES = ("registry", "local", "inline")
_SWITCHES = ("image-manifest", "oci-mediatypes", "force-compression", "ignore-error")


class RunWishes(Record):
    """What the command line says about all RUN steps. `secrets` by id; `ssh`: id → path of an agent's socket."""

    network: str = "default"
    extra_hosts: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[dict[str, Any], ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    secrets: dict[str, bytes] = {}
    ssh: dict[str, str] = {}
    dns: tuple[str, ...] = ()
    # (host's path, path in the step, read-only)
    volumes: tuple[tuple[str, str, bool], ...] = ()
    # Folders of the host in the place of cache mounts, by id.
    cache_folders: dict[str, str] = {}
    # HostConfig's keys of limits
    limits: dict[str, Any] = {}
    cgroup_parent: str = ""

    @property
    def shown(self) -> str:
        """What of it is part of a step's key."""
        return "".join(f"|{source}:{target}:{ro}" for source, target, ro in self.volumes)


def network_mode(text: str) -> str:
    """--network of a build. Raises Unsupported, InvalidArgument."""
    if text in ("", "default", "host"):
        return "default" if text != "host" else "host"
    if text == "none":
        return "none"
    if text.startswith("container:"):
        raise Unsupported("--network container:… is not supported for builds", hint="use --network host or none")
    raise InvalidArgument(f"network mode {text!r} is not supported by builds", hint="use --network default, host or none")


class CacheSpec(Record):
    """One --cache-from or --cache-to. `place`: a reference or a folder. `everything`: mode=max."""

    type: str
    place: str = ""
    everything: bool = False
    compression: str = ""
    ignore_error: bool = False


def cache(text: str, flag: str) -> CacheSpec:
    """`user/app:cache`, `type=registry,ref=…`, `type=local,src|dest=…`, `type=inline`. Raises InvalidArgument, Unsupported."""
    if "=" not in text:
        return CacheSpec("registry", text)
    import csv

    values: dict[str, str] = {}
    for field in next(csv.reader([text]), []):
        key, equals, value = field.partition("=")
        if not equals:
            raise InvalidArgument(f"invalid value {field} for --{flag}: it should be key=value")
        values[key.strip().lower()] = value
    kind = values.pop("type", "")
    if kind not in _TYPES or kind == "inline" and flag == "cache-from":
        raise Unsupported(f"--{flag} type={kind}: it is registry or local" + (" or inline" if flag == "cache-to" else ""))
    place = values.pop({"registry": "ref", "inline": "-"}.get(kind, "src" if flag == "cache-from" else "dest"), "")
    if not place and kind != "inline":
        raise InvalidArgument(f"--{flag} type={kind} needs {'ref' if kind == 'registry' else 'src' if flag == 'cache-from' else 'dest'}=")
    mode = values.pop("mode", "min")
    if mode not in ("min", "max"):
        raise InvalidArgument(f"--{flag} mode={mode}: it is min or max")
    ignore = values.pop("ignore-error", "false").lower() == "true"
    compression = values.pop("compression", "")
    for key in values:
        if key not in (*_SWITCHES, "compression-level", "tag", "digest"):
            raise InvalidArgument(f"--{flag} {key}=… is not known")
    return CacheSpec(kind, place, mode == "max", compression, ignore)
