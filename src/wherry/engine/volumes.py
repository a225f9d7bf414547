"""`Engine.volumes`: volumes made, listed, inspected and removed. What containers do with them is in volume_mounts and volume_launch."""

from __future__ import annotations

import os

from wherry.errors import Conflict, NotFound, WherryError
from wherry.model import volume as model
from wherry.store import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.engine import Engine
    from wherry.model.volume import VolumeSummary
    from wherry.store.volumes import VolumeRow


class Volumes:
    """What can be done with volumes. Names are whole: a volume has no id."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> VolumeSummary:
        """Make a volume; "" is given a name of 64 digits. One of that name and driver that is there already is returned as it is.

        Raises InvalidArgument, Conflict (another driver), NotFound (no such driver), and what the driver raises.
        """
        from wherry.volume import drivers

        self._engine.sweep()
        store = self._engine.store
        labels = dict(labels or {})
        if not name:
            name = os.urandom(32).hex()
            labels[model.ANONYMOUS_LABEL] = ""
        anonymous = model.ANONYMOUS_LABEL in labels
        model.check_name(name)
        module = drivers.of(driver)
        found = volumes.get(store.db, name)
        staged = ""
        if found is None:
            module.check(name, options or {})
            state = module.prepare(store, name, options or {})
            staged = volumes.staged_folder(store, state.pop("files", {})) if state else ""
            with store.db.transaction() as db:
                # Two may make it at once: the second one finds the first one's.
                found = volumes.get(db, name)
                if found is None:
                    volumes.insert(db, name, driver, options or {}, labels, anonymous=anonymous)
                    if state:
                        volumes.set_state(db, name, state)
        if found is not None and found.driver != driver:
            raise Conflict(f"create {name}: conflict: volume name must be unique")
        row = volumes.find(store.db, name)
        if not row.ready:
            volumes.make_ready(store, name, staged)
        return self._summary(row, volumes.users_of(store.db, name))

    def exists(self, name: str) -> bool:
        return volumes.get(self._engine.store.db, name) is not None

    def inspect(self, name: str, *, size: bool = False) -> dict[str, Any]:
        """A volume as docker's API shows it, and what only wherry knows under "Wherry". Raises NotFound."""
        from wherry.engine.volume_list import document

        return document(self._engine.store, volumes.find(self._engine.store.db, name), size=size)

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume that no container refers to. `force`: one that isn't there is no error. Raises NotFound, Conflict."""
        self._engine.sweep()
        store = self._engine.store
        try:
            row = volumes.find(store.db, name)
            self._tell_driver(row, force=force)
            volumes.remove(store, name)
        except NotFound:
            if not force:
                raise

    def export(self, name: str, fd: int) -> None:
        """Write the volume's content as a tar stream to `fd`: owners, modes, times, attributes, links and holes are kept."""
        from wherry.engine.volume_content import export

        export(self._engine, name, fd)

    def import_(self, name: str, source: str | int) -> None:
        """Unpack a tar archive (a path, or a descriptor; plain or compressed) over what a volume has. Raises ArchiveError, NotFound."""
        from wherry.engine.volume_content import import_

        self._engine.sweep()
        import_(self._engine, name, source)

    def clone(self, name: str, new: str) -> None:
        """Make a volume with the content that another has now."""
        from wherry.engine.volume_content import clone

        self._engine.sweep()
        clone(self._engine, name, new)

    def snapshot(self, name: str, label: str) -> None:
        """Keep what a volume has now; containers that write to it are frozen while it is copied."""
        from wherry.engine.volume_content import snapshot

        self._engine.sweep()
        snapshot(self._engine, name, label)

    def restore(self, name: str, label: str) -> None:
        """Give a volume the content of one of its snapshots, which stays."""
        from wherry.engine.volume_content import restore

        self._engine.sweep()
        restore(self._engine, name, label)

    def snapshots(self, name: str) -> list[tuple[str, int]]:
        """(name, time in ns) of a volume's snapshots, oldest first."""
        from wherry.engine.volume_content import snapshots

        return snapshots(self._engine, name)

    def remove_snapshot(self, name: str, label: str) -> None:
        from wherry.engine.volume_content import remove_snapshot

        self._engine.sweep()
        remove_snapshot(self._engine, name, label)

    def disk_usage(self, names: list[str]) -> list[tuple[str, int, int, int]]:
        """(name, bytes on disk, bytes as its files say, entries) of the local volumes named, or of all."""
        from wherry.engine.volume_content import disk_usage

        return disk_usage(self._engine, names)

    def flush(self, name: str, timeout_s: float | None = None) -> list[tuple[str, int]]:
        """Wait until all that was written to an S3 volume is in its bucket; (path, bytes) of what is not after `timeout_s` seconds."""
        from wherry.volume import s3

        self._engine.sweep()
        row = volumes.find(self._engine.store.db, name)
        if row.driver != "s3":
            return []
        left = s3.flush(self._engine.store, row, s3.FLUSH_S if timeout_s is None else timeout_s)
        return [(str(path), int(size)) for path, size in left]

    def _tell_driver(self, row: VolumeRow, *, force: bool) -> None:
        if row.driver == "local":
            return
        users = volumes.users_of(self._engine.store.db, row.name)
        if users:
            raise Conflict(f"remove {row.name}: volume is in use - [{', '.join(users)}]")
        from wherry.volume import drivers

        try:
            drivers.of(row.driver).removed(self._engine.store, row)
        except WherryError:
            if not force:
                raise

    def remove_many(self, names: list[str], *, force: bool = False) -> Iterator[tuple[str, WherryError | None]]:
        for name in names:
            try:
                self.remove(name, force=force)
            except WherryError as error:
                yield name, error
            else:
                yield name, None

    def prune(self, *, all: bool = False, filters: dict[str, list[str]] | None = None) -> tuple[list[str], int]:
        """Remove the anonymous volumes that no container refers to (`all`: named ones, too). Names and bytes that came free."""
        from wherry.engine.volume_list import prunable, sizes

        self._engine.sweep()
        store = self._engine.store
        test = prunable(all, filters or {})
        users = volumes.users(store.db)
        rows = [row for row in volumes.everything(store.db) if not users.get(row.name) and test(row)]
        taken = sizes(store, rows)
        done = []
        for row in rows:
            try:
                self._tell_driver(row, force=False)
                volumes.remove(store, row.name)
            except (Conflict, NotFound):
                continue  # somebody uses it by now, or has removed it
            done.append(row.name)
        return done, sum(max(0, taken.get(name, 0)) for name in done)

    def _summary(self, row: VolumeRow, users: list[str], size_bytes: int = -1) -> VolumeSummary:
        store = self._engine.store
        return model.VolumeSummary(
            name=row.name,
            driver=row.driver,
            mountpoint=volumes.data(store, row.name),
            options=row.options(),
            labels=row.labels(),
            anonymous=row.anonymous,
            created_ns=row.created_ns,
            used_ns=volumes.used_ns(store, row.name),
            size_bytes=size_bytes,
            containers=tuple(users),
        )

    def list(self, filters: dict[str, list[str]] | None = None, *, size: bool = False) -> list[VolumeSummary]:
        """Volumes by name. Filters: dangling, driver, label, name. Raises InvalidArgument."""
        from wherry.engine.volume_list import chosen, sizes

        self._engine.sweep()
        store = self._engine.store
        test = chosen(filters or {})
        users = volumes.users(store.db)
        rows = [row for row in volumes.everything(store.db) if test(row, users.get(row.name, []))]
        taken = sizes(store, rows) if size else {}
        return [self._summary(row, users.get(row.name, []), taken.get(row.name, -1)) for row in rows]
