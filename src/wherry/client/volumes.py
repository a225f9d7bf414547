"""`Engine.volumes` and `Volume`."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from wherry.client.containers import Filters, Pruned, lists

if TYPE_CHECKING:
    from wherry.engine import Engine


class Volume:
    """A volume; its name is all of it. Every method may raise NotFound when it was removed meanwhile."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name: str = name

    def __repr__(self) -> str:
        return f"<Volume: {self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Volume) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def attrs(self) -> dict[str, Any]:
        """docker's document of it, as it is now."""
        return self._engine.volumes.inspect(self.name)

    def remove(self, *, force: bool = False) -> None:
        """Remove it with its data. Raises Conflict when a container refers to it; `force`: it may be missing."""
        self._engine.volumes.remove(self.name, force=force)

    @property
    def containers(self) -> builtins.list[str]:
        """Ids of the containers that refer to it, also of stopped ones."""
        return [str(container_id) for container_id in self.attrs["Wherry"]["Containers"]]

    @property
    def size(self) -> int:
        """Bytes on disk. Raises Unsupported where its data lie elsewhere."""
        return self._engine.volumes.disk_usage([self.name])[0][1]

    def export(self, file: BinaryIO) -> None:
        """Write its content as a tar archive to a file (one with a descriptor)."""
        file.flush()
        self._engine.volumes.export(self.name, file.fileno())

    def load(self, source: str | BinaryIO) -> None:
        """Unpack a tar archive over what it has: a path, or a file with a descriptor. All or nothing. Raises ArchiveError."""
        self._engine.volumes.import_(self.name, source if isinstance(source, str) else source.fileno())

    def snapshot(self, label: str) -> None:
        """Keep what it has now; containers that write to it are frozen meanwhile."""
        self._engine.volumes.snapshot(self.name, label)

    def snapshots(self) -> builtins.list[str]:
        """Labels, oldest first."""
        return [label for label, _at in self._engine.volumes.snapshots(self.name)]

    def restore(self, label: str) -> None:
        """Give it what it had at a snapshot. Raises Conflict while a container runs with it."""
        self._engine.volumes.restore(self.name, label)

    def clone(self, name: str) -> Volume:
        """A new volume with the same content."""
        self._engine.volumes.clone(self.name, name)
        return Volume(self._engine, name)

    def flush(self, timeout: float | None = None) -> builtins.list[str]:
        """Wait until all that was written to an S3 volume is in its bucket; what is not after `timeout` seconds."""
        return [path for path, _size in self._engine.volumes.flush(self.name, timeout)]


class Volumes:
    """The volumes of a store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        driver_opts: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """A new volume, or the one of that name and driver that there is. Raises InvalidArgument, Conflict (another driver)."""
        made = self._engine.volumes.create(name, driver=driver, options=dict(driver_opts or {}), labels=dict(labels or {}))
        return Volume(self._engine, made.name)

    def get(self, name: str) -> Volume:
        """The volume of that name. Raises NotFound."""
        self._engine.volumes.inspect(name)
        return Volume(self._engine, name)

    def list(self, *, filters: Filters | None = None) -> builtins.list[Volume]:
        """All of them. `filters` as `volume ls` takes them."""
        return [Volume(self._engine, summary.name) for summary in self._engine.volumes.list(lists(filters))]

    def prune(self, *, all: bool = False, filters: Filters | None = None) -> Pruned:
        """Remove anonymous ones that no container refers to (`all`: also those with a name)."""
        names, size = self._engine.volumes.prune(all=all, filters=lists(filters))
        return Pruned(tuple(names), size)
