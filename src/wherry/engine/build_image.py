"""The image at the end of a build: its layers get their digests, on all cores, and then it is one transaction."""

from __future__ import annotations

import os
import time

from wherry.build import keys
from wherry.build.jobs import Base
from wherry.engine.transfer_jobs import at_once
from wherry.model import jsontext, times
from wherry.store import images, layers, steps, treeop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.build.builder import StageResult
    from wherry.build.jobs import StageJob
    from wherry.build.state import History
    from wherry.build.workers import Worker
    from wherry.model.platform import Platform
    from wherry.model.reference import Reference
    from wherry.store import Store


def name_layers(store: Store, worker: Worker, numbers: list[int]) -> tuple[list[int], list[str]]:
    """The digests of an image's layers; those that have none are packed now. Returns (numbers, diff ids): a layer that turns out to
    be equal to one that is here already gives way to it.
    """
    known = {n: store.db.row("SELECT diff_id FROM layers WHERE id = ?", (n,))[0] for n in set(numbers)}
    new = [n for n, diff_id in known.items() if not diff_id]
    recipes = {n: store.staging("recipe") for n in new}

    def pack(number: int) -> dict[str, Any]:
        found: dict[str, Any] = worker.do({"do": "tar", "tree": store.path("layers", str(number)), "recipe": recipes[number]})
        return found

    try:
        packed = dict(zip(new, at_once([_bound(pack, n) for n in new], os.cpu_count() or 1))) if new else {}
        place = {n: n for n in known}
        changes = layers.Changes(store)
        with store.db.transaction() as db:
            for number, it in packed.items():
                place[number] = changes.name(number, it["diff_id"], recipes[number], it["size"], it["entries"], it["tar_bytes"])
                known[place[number]] = it["diff_id"]
            changes.drop_equal(db, [n for n in place if place[n] != n])
        changes.finish()
    finally:
        for path in recipes.values():
            if os.path.lexists(path):
                os.unlink(path)
    return [place[n] for n in numbers], [str(known[place[n]]) for n in numbers]


def _bound(pack: Callable[[int], dict[str, Any]], number: int) -> Callable[[], dict[str, Any]]:
    return lambda: pack(number)


def document(
    job: StageJob,
    result: StageResult,
    diff_ids: list[str],
    platform: Platform,
    *,
    labels: dict[str, str],
    created_ns: int,
    unset_env: tuple[str, ...] = (),
    squash: str = "",
    with_history: bool = True,
) -> dict[str, Any]:
    """The image's config document. `created_ns` -1: a step's entry has the time at which its layer was made, so that a build that
    the cache answers gives the same image again.
    """
    base = _root(job).base
    found: dict[str, Any] = {}
    if base is not None:
        for key in ("architecture", "variant", "os", "os.version", "os.features"):
            if base.document.get(key):
                found[key] = base.document[key]
    found.setdefault("architecture", platform.architecture)
    found.setdefault("os", platform.os)
    if base is None and platform.variant:
        found["variant"] = platform.variant
    config = dict(job.state.config)
    if labels:
        config["Labels"] = {**(config.get("Labels") or {}), **labels}
    if unset_env:
        config["Env"] = [e for e in config.get("Env") or () if e.partition("=")[0] not in unset_env]
    author = job.state.author or (str(base.document.get("author") or "") if base is not None else "")
    history = list(base.history) if base is not None else []
    if squash:
        history = _squashed(history, _history(job), squash, _first_time(base, result, created_ns))
        entries = []
    else:
        entries = _history(job)
    times_of = iter(result.made_ns)
    created = _first_time(base, result, created_ns)
    for entry in entries:
        if entry.step:
            made_ns = next(times_of)
            created = times.format_ns(made_ns) if created_ns < 0 else created
        history.append(
            {
                "created": created,
                **({"author": entry.author} if entry.author else {}),
                "created_by": entry.created_by,
                "comment": entry.comment,
                **({} if entry.step else {"empty_layer": True}),
            }
        )
    return {
        **found,
        "created": created,
        **({"author": author} if author else {}),
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history if with_history else [],
    }


def _squashed(base: list[dict[str, Any]], new: list[History], squash: str, created: str) -> list[dict[str, Any]]:
    """Every entry is there, and only the last one has a layer."""
    kept = [{**entry, "empty_layer": True} for entry in base] if squash == "all" else base
    found = [{"created": created, "created_by": entry.created_by, "comment": entry.comment, "empty_layer": True} for entry in new]
    return [*kept, *found, {"created": created, "created_by": "squash", "comment": "layers made into one"}]


def squash(
    store: Store, worker: Worker, result: StageResult, base: int, move: Callable[[str, str], None], *, everything: bool
) -> list[int]:
    """The layers of an image with those above the lowest `base` ones (or all) made into one."""
    below, above = ([], result.layers) if everything else (result.layers[:base], result.layers[base:])
    if len(above) < 2 and not (everything and above):
        return result.layers
    key = keys.merged(result.key, [*result.made_ns, *below], everything=everything)
    found = steps.find(store, key)
    if found is None:
        target = store.staging("merged")
        os.mkdir(target, 0o755)
        trees = [store.path("layers", str(n)) for n in above]
        lowers = [store.path("layers", str(n)) for n in dict.fromkeys(below[::-1])]
        worker.do({"do": "merge", "trees": trees, "target": target, "lowers": lowers, "mount": store.staging("base")})
        found = steps.add(store, key, "squash", target, move)
    return [*below, found[0]]


def _first_time(base: Base | None, result: StageResult, created_ns: int) -> str:
    """The time of what stands before the first new layer; without any, the base's own."""
    if created_ns >= 0:
        return times.format_ns(created_ns)
    if result.made_ns:
        return times.format_ns(result.made_ns[0])
    if base is not None and base.document.get("created"):
        return str(base.document["created"])
    return times.format_ns(time.time_ns())


def _root(job: StageJob) -> StageJob:
    while job.parent is not None:
        job = job.parent
    return job


def _history(job: StageJob) -> list[History]:
    row = [job]
    while (parent := row[-1].parent) is not None:
        row.append(parent)
    return [entry for one in reversed(row) for entry in one.state.history]


def commit(store: Store, config: dict[str, Any], numbers: list[int], targets: list[Reference]) -> str:
    """Put everything on the platter, then commit the image. Returns its id."""
    from wherry.engine import image_in

    waiting = steps.unsettled(store, numbers)
    if waiting:
        treeop.sync(store.root)
    with store.db.transaction():
        steps.settle(store, waiting)
        return image_in.commit(store, jsontext.dumps(config).encode("utf-8", "surrogateescape"), list(numbers), targets, b"")


def image_base(store: Store, image_id: str, shown: str) -> Base:
    """An image of the store as what a stage begins with."""
    row = images.find(store.db, image_id)
    document = jsontext.loads(images.read_blob(store, row.id))
    return Base(
        shown,
        row.id,
        tuple(images.layer_numbers(store.db, row.id)[::-1]),
        tuple(document["rootfs"]["diff_ids"]),
        document.get("config") or {},
        tuple(document.get("history") or ()),
        f"{row.os}/{row.architecture}" + (f"/{row.variant}" if row.variant else ""),
        document,
    )


def described(store: Store, image_id: str) -> tuple[str, str, int]:
    """(digest, media type, size) of what an image goes out as; its config's where it has no manifest yet."""
    row = images.find(store.db, image_id)
    if not row.manifest_digest:
        return image_id, "application/vnd.oci.image.config.v1+json", len(images.read_blob(store, image_id))
    data = images.read_blob(store, row.manifest_digest)
    kind = str(jsontext.loads(data).get("mediaType") or "application/vnd.oci.image.manifest.v1+json")
    return row.manifest_digest, kind, len(data)
