"""The volumes of a new container: which ones its flags, its image and other containers give it, made and filled.

docker's rules (moby, daemon/volumes.go and create_unix.go): --volumes-from first, then the container's own flags, which win; an image's
VOLUME is left out where something else is mounted. Loaded only for a container that has any.
"""

from __future__ import annotations

import os

from wherry.errors import Conflict, InvalidArgument, NotFound
from wherry.model import volume as model
from wherry.model.mounts import MountSpec
from wherry.model.record import Record
from wherry.store import containers, volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine
    from wherry.store import Store
    from wherry.store.db import Database


class Use(Record):
    """A volume that the new container mounts. `copy`: fill it from the image if it is empty. `image`: the mount is the image's wish."""

    name: str
    target: str
    anonymous: bool
    asked: model.Asked
    copy: bool
    from_image: bool = False


class Wanted(Record):
    mounts: tuple[MountSpec, ...]
    uses: tuple[Use, ...]


def wanted(engine: Engine, mounts: tuple[MountSpec, ...], config: dict[str, Any], host: dict[str, Any]) -> Wanted:
    """All mounts of the container, volumes with their names. Raises InvalidArgument, NotFound, Conflict."""
    found = list(mounts)
    taken = {_normal(m.target) for m in found}
    for spec in host.get("VolumesFrom") or ():
        for mount in _of_container(engine.store, spec):
            if _normal(mount.target) not in taken:
                taken.add(_normal(mount.target))
                found.append(mount)
    for path in config.get("Volumes") or ():
        if _normal(path) not in taken:
            taken.add(_normal(path))
            found.append(MountSpec("volume", path, origin="image"))
    uses = []
    for at, mount in enumerate(found):
        if mount.type == "volume":
            use = _use(mount, str(host.get("VolumeDriver") or ""))
            found[at] = mount.replace(source=use.name)
            uses.append(use)
        elif mount.type == "image":
            found[at] = _image(engine, mount)
    for use in uses:
        if use.asked.driver not in ("", "local") and volumes.get(engine.store.db, use.name) is None:
            # A driver may have to ask others first: that belongs in no transaction.
            labels = {**use.asked.labels, **({model.ANONYMOUS_LABEL: ""} if use.anonymous else {})}
            engine.volumes.create(use.name, driver=use.asked.driver, options=use.asked.options, labels=labels)
    return Wanted(tuple(found), tuple(uses))


def _normal(target: str) -> str:
    return os.path.normpath("/" + target.lstrip("/"))


def _use(mount: MountSpec, default_driver: str) -> Use:
    asked = model.asked_of(mount, default_driver)
    anonymous = not mount.source
    if anonymous and mount.subpath:
        raise InvalidArgument(
            "mount options have invalid values: must not set Subpath when using anonymous volumes", hint="name the volume with source="
        )
    name = mount.source or os.urandom(32).hex()
    if not anonymous:
        model.check_name(name)
    copy = not asked.no_copy and not mount.subpath and mount.origin != "--volumes-from"
    return Use(name, mount.target, anonymous, asked, copy, mount.origin == "image")


def _image(engine: Engine, mount: MountSpec) -> MountSpec:
    """type=image: the layers of an image, read-only. Its id is kept, so that it is that image for as long as the container lives."""
    if not mount.source:
        raise InvalidArgument('invalid mount config for type "image": field Source must not be empty')
    found = engine.images.get(mount.source)
    return mount.replace(read_only=True, options=(*mount.options, "image=" + found.id, "layers=" + ",".join(str(n) for n in found.layers)))


def _of_container(store: Store, spec: str) -> list[MountSpec]:
    """The binds and volumes of another container: --volumes-from NAME[:ro|rw|z|Z]."""
    name, _, mode = spec.partition(":")
    if not name:
        raise InvalidArgument(f"malformed --volumes-from specification: {spec}")
    for word in mode.split(",") if mode else ():
        if word not in ("ro", "rw", "z", "Z"):
            raise InvalidArgument(f"invalid mode: {mode}")
    row = containers.find(store.db, name)
    read_only = "ro" in mode.split(",")
    found = []
    for kept in row.record().get("Mounts") or ():
        if kept["type"] not in ("bind", "volume"):
            continue
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items() if k in MountSpec._fields_}
        mount = MountSpec(**fields)
        found.append(mount.replace(read_only=mount.read_only or read_only, origin="--volumes-from", overlay=False, chown=False))
    return found


def store_uses(db: Database, container_id: str, uses: tuple[Use, ...]) -> None:
    """In the transaction that stores the container: the rows of new volumes, and who uses which. Raises Conflict."""
    for use in uses:
        row = volumes.get(db, use.name)
        if row is None:
            labels = {**use.asked.labels, **({model.ANONYMOUS_LABEL: ""} if use.anonymous else {})}
            driver = use.asked.driver or "local"
            if use.asked.options:
                from wherry.volume import drivers

                drivers.of(driver).check(use.name, use.asked.options)
            volumes.insert(db, use.name, driver, use.asked.options, labels, anonymous=use.anonymous)
        elif use.asked.driver and use.asked.driver != row.driver:
            raise Conflict(f"create {use.name}: conflict: volume name must be unique")
        volumes.use(db, container_id, use.name, owned=use.anonymous)


def fill(store: Store, uses: tuple[Use, ...], layers: tuple[int, ...]) -> None:
    """Make the folders of new volumes, and copy what the image has at the target into those that are empty.

    Raises InvalidArgument where the image has a file at a VOLUME of its own.
    """
    for use in uses:
        row = volumes.find(store.db, use.name)
        if row.driver != "local" or row.options().get("device"):
            if not row.ready:
                volumes.make_ready(store, use.name)
        elif not row.ready:
            _fill_new(store, use, layers)
        elif use.copy and _is_empty(volumes.data(store, use.name)) and _is_in_image(store, layers, use.target):
            _fill_empty(store, use, layers)


def _fill_new(store: Store, use: Use, layers: tuple[int, ...]) -> None:
    if not use.copy or not _is_in_image(store, layers, use.target):
        volumes.make_ready(store, use.name)
        return
    staged = _copied(store, use, layers)
    volumes.make_ready(store, use.name, staged)


def _copied(store: Store, use: Use, layers: tuple[int, ...]) -> str:
    """A folder in staging/ with the image's content as _data; "" where the image has none."""
    from wherry.store import treeop

    staged = store.staging("volume")
    os.mkdir(staged, 0o711)
    os.utime(staged, (0, 0))
    problem = treeop.copy_up(store.path("layers"), list(layers), use.target, staged + "/_data")
    if problem == "file" and use.from_image:
        raise InvalidArgument(f"cannot mount volume over existing file, file exists {use.target}")
    if problem:
        return ""
    treeop.sync(staged)
    return staged


def _fill_empty(store: Store, use: Use, layers: tuple[int, ...]) -> None:
    from wherry.store import actual, removal, treeop

    rows = [containers.find(store.db, i) for i in volumes.users_of(store.db, use.name)]
    if any(actual.read(store, row).alive for row in rows):
        # Somebody has it mounted: it can't be exchanged as a whole, only be filled in their sight.
        treeop.copy_up(store.path("layers"), list(layers), use.target, volumes.data(store, use.name))
        return
    staged = _copied(store, use, layers)
    if not staged:
        return
    from wherry.kernel.exchange import exchange

    with store.db.transaction():
        if _is_empty(volumes.data(store, use.name)):
            exchange(staged, volumes.folder(store, use.name))
    removal.drop_trees(store, [os.path.basename(staged)])


def _is_empty(path: str) -> bool:
    """One that we may not look into has been given to somebody already, and counts as used."""
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def _is_in_image(store: Store, layers: tuple[int, ...], target: str) -> bool:
    """Whether a layer may have something at the path; where a link is on the way, or we may not look, the native program finds out."""
    parts = [p for p in target.split("/") if p]
    for number in layers:
        path = store.path("layers", str(number))
        for part in parts:
            path += "/" + part
            try:
                mode = os.lstat(path).st_mode & 0o170000
            except PermissionError:
                return True
            except OSError:
                break
            if mode == 0o120000:
                return True
        else:
            return True
    return False


def ready(store: Store, names: list[str]) -> dict[str, volumes.VolumeRow]:
    """The volumes of a container that starts, each with its folder: what a crash left undone is done. Raises NotFound."""
    found = {}
    for name in names:
        row = volumes.get(store.db, name)
        if row is None:
            raise NotFound(f"get {name}: no such volume")
        if not row.ready:
            volumes.make_ready(store, name)
        volumes.touch(store, name)
        found[name] = row
    return found
