"""`spec`: the OCI runtime spec of a container that is not made."""

from __future__ import annotations

from wherry.engine import launch, merge, modes
from wherry.model import names
from wherry.runtime import spec
from wherry.store import leases
from wherry.store.containers import ContainerRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine
    from wherry.model.container import CreateRequest


def of_request(engine: Engine, request: CreateRequest) -> dict[str, Any]:
    """What `create` and `start` would make of it. Volumes and images are shown by their names. Raises what `create` raises."""
    from wherry.engine.create import image_of

    store = engine.store
    image = image_of(engine, request)
    config = merge.merged_config(request.config, image.config)
    host = modes.checked(store, request.host, engine)
    container_id = names.new_id()
    if not config.get("Hostname"):
        config["Hostname"] = modes.hostname(store, host, container_id)
    record: dict[str, Any] = {"Config": config, "HostConfig": host, "Mounts": []}
    if modes.wants_own_ids(store, host):  # any range will do: a real one is leased when the container is made
        record["IdRange"] = leases.FIRST
    row = ContainerRow(container_id, request.name or "spec", image.id, request.image, "", "", "{}", 0, False, "created")
    context = launch.spec_context(store, row, record, launch.joined_processes(store, host))
    return spec.make_spec(config, host, request.mounts, context)


def of_container(engine: Engine, name: str) -> dict[str, Any]:
    """That of a container in the store, as its next start would have it. Raises NotFound."""
    from wherry.store import containers

    row = containers.find(engine.store.db, name)
    record = row.record()
    joins = launch.joined_processes(engine.store, record["HostConfig"])
    context = launch.spec_context(engine.store, row, record, joins)
    return spec.make_spec(record["Config"], record["HostConfig"], modes.mount_specs(record), context)
