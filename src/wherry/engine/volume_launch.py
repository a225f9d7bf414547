"""A container's mounts of volumes and images at its start: records in, mounts with sources out. Loaded only for those that have any."""

from __future__ import annotations

from wherry.engine import volume_mounts
from wherry.errors import NotFound, WherryError
from wherry.store import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine import Engine
    from wherry.model.mounts import MountSpec
    from wherry.store import Store
    from wherry.store.containers import ContainerRow
    from wherry.store.volumes import VolumeRow


def located(engine: Engine, container_id: str, mounts: tuple[MountSpec, ...]) -> tuple[MountSpec, ...]:
    """The mounts with the paths of their volumes as sources. Raises NotFound, and what a driver raises."""
    rows = volume_mounts.ready(engine.store, [m.source for m in mounts if m.type == "volume"])
    found = []
    for mount in mounts:
        if mount.type == "volume":
            mount = _volume(engine, container_id, mount, rows[mount.source])
        elif mount.type == "image":
            mount = _image(engine, mount)
        found.append(mount)
    return tuple(found)


def _volume(engine: Engine, container_id: str, mount: MountSpec, row: VolumeRow) -> MountSpec:
    if row.driver == "local" and row.options_text == "{}":
        return mount.replace(source=volumes.data(engine.store, row.name))
    from wherry.volume import drivers

    found: MountSpec = drivers.of(row.driver).locate(engine.store, container_id, row, mount)
    return found


def _image(engine: Engine, mount: MountSpec) -> MountSpec:
    numbers = next((o[len("layers=") :] for o in mount.options if o.startswith("layers=")), "")
    for number in numbers.split(","):
        if not engine.store.db.row("SELECT 1 FROM layers WHERE id = ?", (number,)):
            raise NotFound(f"No such image: {mount.source}", hint="pull it again and create the container anew")
    return mount.replace(source="\n".join(engine.store.path("layers", n) for n in numbers.split(",")))


def settle(engine: Engine, row: ContainerRow) -> None:
    """A container has ended: drivers that send data elsewhere are given a while for it. What is left is told in a warning."""
    for mount in row.record().get("Mounts") or ():
        volume = volumes.get(engine.store.db, mount["source"]) if mount["type"] == "volume" else None
        if volume is not None and volume.driver != "local":
            from wherry.volume import drivers

            try:
                left = drivers.of(volume.driver).settle(engine.store, volume)
            except WherryError as error:
                engine.warn(f"volume {volume.name}: {error.message}")
                continue
            if left:
                names = ", ".join(str(item[0]) for item in left[:5]) + (", …" if len(left) > 5 else "")
                engine.warn(
                    f"volume {volume.name}: {len(left)} files are not in the bucket yet: {names}; they are kept, and sent on the next use"
                )


def drop_doomed(store: Store) -> None:
    """Remove the anonymous volumes of containers that are gone now. One small query where there are none."""
    if store.db.row("SELECT 1 FROM volumes WHERE doomed"):
        volumes.drop_doomed(store)
