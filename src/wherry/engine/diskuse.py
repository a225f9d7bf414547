"""`system df`: what the store's images and containers take, and what removing the unused ones gives back."""

from __future__ import annotations

from wherry.engine.lifecycle import tree_bytes
from wherry.store import actual, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine


def df(engine: Engine, *, verbose: bool) -> dict[str, Any]:
    """Totals for each kind (TotalCount, Active, SizeBytes, ReclaimableBytes); `verbose` adds the objects as `Items`."""
    store = engine.store
    rows = containers.everything(store.db)
    in_use = {row.image_id for row in rows}
    sizes = {row.id: tree_bytes(store.path("containers", row.id, "over", "upper")) for row in rows}
    running = {row.id for row in rows if actual.read(store, row).alive}
    images = _images(engine, in_use)
    report: dict[str, Any] = {
        "Images": images,
        "Containers": {
            "TotalCount": len(rows),
            "Active": len(running),
            "SizeBytes": sum(sizes.values()),
            "ReclaimableBytes": sum(size for name, size in sizes.items() if name not in running),
        },
        "LocalVolumes": _volumes(engine, running),
        "BuildCache": {"TotalCount": 0, "Active": 0, "SizeBytes": 0, "ReclaimableBytes": 0},
    }
    if verbose:
        report["Images"]["Items"] = engine.images.list(all=True, filters={})
        report["LocalVolumes"]["Items"] = engine.volumes.list(size=True)
        report["Containers"]["Items"] = engine.containers.list(all=True, size=True)
    return report


def _volumes(engine: Engine, running: set[str]) -> dict[str, Any]:
    """Active: used by a container that runs. docker counts as reclaimable what no container refers to."""
    found = engine.volumes.list(size=True)
    return {
        "TotalCount": len(found),
        "Active": sum(any(c in running for c in v.containers) for v in found),
        "SizeBytes": sum(max(0, v.size_bytes) for v in found),
        "ReclaimableBytes": sum(max(0, v.size_bytes) for v in found if not v.containers),
    }


def _images(engine: Engine, in_use: set[str]) -> dict[str, Any]:
    db = engine.store.db
    layers = dict(db.rows("SELECT id, size_bytes FROM layers"))
    users: dict[int, set[str]] = {}
    for image_id, layer_id in db.rows("SELECT image_id, layer_id FROM image_layers"):
        users.setdefault(layer_id, set()).add(image_id)
    all_images = {image_id for (image_id,) in db.rows("SELECT id FROM images")}
    # A layer comes free when no image that a container uses needs it.
    free = sum(size for number, size in layers.items() if not users.get(number, set()) & in_use)
    return {
        "TotalCount": len(all_images),
        "Active": len(all_images & in_use),
        "SizeBytes": sum(layers.values()),
        "ReclaimableBytes": free,
    }
