"""`Engine.system`: what the store holds, what this host offers, tidying and checking."""

from __future__ import annotations

import os

from wherry.errors import NotFound
from wherry.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.engine import Engine
    from wherry.errors import WherryError
    from wherry.store.check import Finding


class System:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def version(self) -> dict[str, Any]:
        """docker's `version` document. There is one program, so client and server are the same; it opens no store."""
        import sys

        kernel = os.uname()
        client = {
            "Platform": {"Name": "wherry"},
            "Version": VERSION,
            "ApiVersion": "1.47",
            "DefaultAPIVersion": "1.47",
            "PythonVersion": ".".join(str(n) for n in sys.version_info[:3]),
            "Os": "linux",
            "Arch": _architecture(kernel.machine),
            "KernelVersion": kernel.release,
        }
        return {"Client": client, "Server": {**client, "Components": [{"Name": "Engine", "Version": VERSION}]}}

    def info(self) -> dict[str, Any]:
        """docker's `info` keys, and under "Wherry" what this host allows and where each setting comes from."""
        from wherry.engine.hostinfo import info

        return info(self._engine)

    def events(
        self,
        *,
        since_ns: int | None = None,
        until_ns: int | None = None,
        filters: dict[str, list[str]] | None = None,
        follow: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """docker's events as documents; `since_ns` and `until_ns` are nanoseconds since the epoch. See engine/events.py."""
        from wherry.engine.events import stream

        return stream(self._engine, since_ns=since_ns, until_ns=until_ns, filters=filters or {}, follow=follow)

    def df(self, verbose: bool = False) -> dict[str, Any]:
        """{"Images": …, "Containers": …, "LocalVolumes": …, "BuildCache": …}: counts, bytes and what can be had back."""
        from wherry.engine.diskuse import df

        return df(self._engine, verbose=verbose)

    def prune(self, *, all: bool = False, volumes: bool = False, filters: dict[str, list[str]] | None = None) -> dict[str, Any]:
        """Remove stopped containers and images that nothing uses (`all`: also tagged ones)."""
        ids, container_bytes = self._engine.containers.prune(filters)
        volumes_gone, volume_bytes = self._engine.volumes.prune(filters=_without_until(filters)) if volumes else ([], 0)
        images, image_bytes = self._engine.images.prune(all=all, filters=filters or {})
        return {
            "ContainersDeleted": ids,
            "VolumesDeleted": volumes_gone,
            "ImagesDeleted": images,
            "SpaceReclaimed": container_bytes + volume_bytes + image_bytes,
        }

    def boot(self) -> Iterator[tuple[str, WherryError | None]]:
        """Start what should be up after a reboot."""
        from wherry.engine.boot import boot

        self._engine.sweep()
        return boot(self._engine)

    def check(self, repair: bool = False) -> list[Finding]:
        """What is wrong with the store; with `repair` it is mended."""
        from wherry.store.check import check

        self._engine.sweep()
        return check(self._engine.store, repair=repair)

    def inspect_any(self, name: str, type: str = "", size: bool = False) -> dict[str, Any]:
        """The first of container, image and volume that has this name. Raises NotFound."""
        if type in ("", "container"):
            try:
                return self._engine.containers.inspect(name, size)
            except NotFound:
                if type:
                    raise
        if type in ("", "image"):
            try:
                return self._engine.images.inspect(name)
            except NotFound:
                if type:
                    raise
        if type in ("", "volume"):
            try:
                return self._engine.volumes.inspect(name)
            except NotFound:
                if type:
                    raise
        raise NotFound(f"no such object: {name}")


def _without_until(filters: dict[str, list[str]] | None) -> dict[str, list[str]]:
    return {key: values for key, values in (filters or {}).items() if key != "until"}


def _architecture(machine: str) -> str:
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(machine, machine)
