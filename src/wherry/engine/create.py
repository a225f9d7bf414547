"""Creating a container: image and wishes to a record in the store. Nothing runs yet."""

from __future__ import annotations

import os
import time

from wherry.engine import merge, modes, network_attach
from wherry.errors import InvalidArgument, NotFound
from wherry.kernel import process
from wherry.model import jsontext, names
from wherry.model.record import Record
from wherry.store import containers, events, leases, removal
from wherry.store.containers import ContainerRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine
    from wherry.engine.images import ImageRecord
    from wherry.engine.volume_mounts import Use
    from wherry.model.container import CreateRequest
    from wherry.model.network import EndpointRequest
    from wherry.model.secret import SecretSpec
    from wherry.store import Store


class CreateResult(Record):
    id: str
    warnings: tuple[str, ...] = ()


def create(engine: Engine, request: CreateRequest, *, wanted: str = "created", durable: bool = True) -> ContainerRow:
    """Add a container to the store. `durable=False` is for those that nobody will be told of after a power cut.

    Raises NotFound (image), Conflict (name), InvalidArgument.
    """
    store = engine.store
    rootfs = _rootfs(request.rootfs) if request.rootfs else None
    image = image_of(engine, request) if rootfs is None else _no_image()
    config = merge.merged_config(request.config, image.config | {"Env": None} if request.no_image_env else image.config)
    if request.low_env:
        known = {entry.partition("=")[0] for entry in config["Env"]}
        config["Env"] = [*(entry for entry in request.low_env if entry.partition("=")[0] not in known), *config["Env"]]
    config["Image"] = request.image
    if "Healthcheck" in config:
        from wherry.engine import health

        health.checked(config)
    host = modes.checked(store, request.host, engine)
    endpoints = network_attach.chosen(store, host, request.networks)
    wanted_mounts = request.mounts
    uses: tuple[Use, ...] = ()
    if config.get("Volumes") or host.get("VolumesFrom") or any(m.type in ("volume", "image") for m in wanted_mounts):
        from wherry.engine import volume_mounts

        asked = volume_mounts.wanted(engine, wanted_mounts, config, host)
        wanted_mounts, uses = asked.mounts, asked.uses
    mounts = modes.checked_mounts(wanted_mounts, config)
    if request.secrets:
        from wherry.engine import secrets

        secrets.check(store, request.secrets)
    if request.name and not names.is_valid(request.name):
        raise InvalidArgument(f"Invalid container name ({request.name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    if request.replace_other:
        _remove_other(engine, request.name)
    container_id = names.new_id()
    if not config.get("Hostname"):
        config["Hostname"] = modes.hostname(store, host, container_id)
    words = merge.argv(config)
    record: dict[str, Any] = {"Config": config, "HostConfig": host, "Mounts": mounts, "Path": words[0], "Args": words[1:]}
    if rootfs is not None:
        record["Rootfs"] = rootfs
    row = ContainerRow(
        id=container_id,
        name=request.name,
        image_id=image.id,
        image_name=request.image,
        layers=",".join(str(n) for n in image.layers),
        command=merge.command_text(words),
        labels_text=jsontext.dumps(config.get("Labels") or {}),
        created_ns=time.time_ns(),
        auto_remove=bool(host.get("AutoRemove")),
        wanted=wanted,
        record_text="",
    )
    row = _store(store, row, record, uses, request.secrets, endpoints, durable=durable)
    if uses:
        try:
            volume_mounts.fill(store, uses, tuple(image.layers))
        except BaseException:
            _drop(store, row)
            raise
    if wanted == "created":
        finish(store, row.id)
    return row


def _drop(store: Store, row: ContainerRow) -> None:
    """The container can't be made after all: it goes, and so do the anonymous volumes that were made for it."""
    from wherry.engine.lifecycle import drop_doomed_volumes

    containers.delete(store.db, row.id, volumes=True)
    removal.set_aside(store, row.id)
    removal.drop_trees(store, [f"rm-{row.id}"])
    finish(store, row.id)
    drop_doomed_volumes(store)


def _rootfs(text: str) -> dict[str, Any]:
    """--rootfs FOLDER[:O]. Raises InvalidArgument."""
    path, _, mode = text.partition(":")
    if mode not in ("", "O", "idmap"):
        raise InvalidArgument(f"--rootfs {text}: {mode!r} is no option of a root file system", hint="only O: its folder is left as it is")
    path = os.path.abspath(path)
    if not os.path.isdir(path):
        raise InvalidArgument(f"--rootfs {text}: {path} is no folder")
    return {"Path": path, "Overlay": mode == "O"}


def _no_image() -> ImageRecord:
    from wherry.engine.images import ImageRecord

    return ImageRecord("", {}, ())


def _remove_other(engine: Engine, name: str) -> None:
    from wherry.engine.lifecycle import remove

    try:
        remove(engine, name, force=True)
    except NotFound:
        return


def image_of(engine: Engine, request: CreateRequest) -> ImageRecord:
    """The image, fetched where the request's pull policy says so. Raises NotFound and what a pull raises."""
    if request.pull in ("missing", "never") and not request.platform:
        try:
            return engine.images.get(request.image)
        except NotFound:
            if request.pull == "never":
                raise
    from wherry.engine.registry import ensure

    progress = None if request.quiet else engine.progress
    return engine.images.get(ensure(engine, request.image, request.pull, platform=request.platform, progress=progress))


def _store(
    store: Store,
    row: ContainerRow,
    record: dict[str, Any],
    uses: tuple[Use, ...],
    wanted: tuple[SecretSpec, ...],
    endpoints: tuple[EndpointRequest, ...],
    *,
    durable: bool,
) -> ContainerRow:
    _begin(store, row.id)
    if wanted:
        from wherry.engine import secrets

        record["Secrets"] = secrets.keep(store, row.id, wanted)
    with store.db.transaction(durable=durable) as db:
        if not row.name:
            row = row.replace(name=_free_name(store, row.id))
        if modes.wants_own_ids(store, record["HostConfig"]):
            # The foreign key wants the container first; the row is completed with its range below.
            containers.insert(db, row.replace(record_text="{}"))
            record["IdRange"] = leases.lease(db, row.id, modes.foreign_ranges())
            containers.set_record(db, row.id, record)
        else:
            containers.insert(db, row.replace(record_text=jsontext.dumps(record)))
        network_attach.insert(db, row.id, endpoints)
        if uses:
            from wherry.engine import volume_mounts

            volume_mounts.store_uses(db, row.id, uses)
        events.describe(store, row)
    events.container(store, row, "create")
    return row.replace(record_text=jsontext.dumps(record))


def _begin(store: Store, container_id: str) -> None:
    """Make the container's folder. A marker in staging/ tells the sweep of it until its row is committed."""
    marker = _marker(store, container_id)
    os.symlink(container_id, marker)
    removal.make_folder(store, container_id)


def _marker(store: Store, container_id: str) -> str:
    pid = os.getpid()
    return f"{store.root}/staging/create-{pid}-{process.start_time(pid)}-{container_id[:12]}"


def finish(store: Store, container_id: str) -> None:
    """A container that was created to run has been started, or can't be. Until then its marker keeps the sweeps of other
    commands from taking it for one that has ended."""
    try:
        os.unlink(_marker(store, container_id))
    except FileNotFoundError:
        return


def _free_name(store: Store, container_id: str) -> str:
    """docker's way: up to six tries, from the second with a digit behind; at last the short id."""
    for attempt in range(6):
        name = names.random_name(attempt)
        if not containers.name_taken(store.db, name):
            return name
    return container_id[:12]
