"""`commit`: what a container wrote becomes a layer, its settings a config, both an image."""

from __future__ import annotations

import os
import time

from wherry.engine import image_in, pausing, trees
from wherry.engine.changes import changed
from wherry.errors import Conflict, InvalidArgument, NotFound
from wherry.model import jsontext, platform, reference, times
from wherry.model.record import Record
from wherry.store import containers, images, layers, treeop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine
    from wherry.store import Store
    from wherry.store.containers import ContainerRow

# The part of a container's config that an image has.
_KEYS = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Healthcheck",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "OnBuild",
    "Shell",
    "ArgsEscaped",
)


class CommitRequest(Record):
    """`changes` are Dockerfile instructions. `pause`: stop the container's processes while its files are read."""

    name: str = ""
    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True
    squash: bool = False
    include_volumes: bool = False


def commit(engine: Engine, name: str, request: CommitRequest) -> str:
    """Make an image of a container; its id. Raises NotFound, InvalidArgument, StoreError."""
    store = engine.store
    target = reference.parse(request.name) if request.name else None
    if target is not None and target.digest:
        raise InvalidArgument(f"cannot commit to a digest reference: {request.name}")
    row = containers.find(store.db, name)
    config = image_config(row, request)
    staged = take_layer(engine, row, squash=request.squash, pause=request.pause)
    try:
        below = [] if request.squash else row.layer_numbers()[::-1]
        diff_ids = [*_diff_ids(store, below), staged.diff_id]
        document = _document(store, row, request, config, diff_ids)
        text = jsontext.dumps(document).encode("utf-8", "surrogateescape")
        wanted: list[layers.StagedLayer | int] = [*below, staged]
        return image_in.commit(store, text, wanted, [target.tagged()] if target else [], b"")
    except BaseException:
        if os.path.isdir(staged.path):
            staged.drop()
        raise


def image_config(row: ContainerRow, request: CommitRequest) -> dict[str, Any]:
    """The config of the image: the container's, without what is its own, and the changes that were asked for."""
    record = row.record()
    config = {key: record["Config"][key] for key in _KEYS if record["Config"].get(key)}
    if request.include_volumes:
        targets = [m["target"] for m in record.get("Mounts") or () if m["type"] in ("bind", "volume")]
        config["Volumes"] = {**(config.get("Volumes") or {}), **{target: {} for target in targets}}
    return changed(request.changes, config)


def take_layer(engine: Engine, row: ContainerRow, *, squash: bool = False, pause: bool = True) -> layers.StagedLayer:
    """What the container wrote (with `squash`: everything it has) as a layer in staging/."""
    store = engine.store
    its = trees.of(store, row)
    with trees.Workshop(store) as workshop:
        if squash:
            return _squashed(store, workshop, its)
        tree = store.staging("layer")
        recipe = tree + ".recipe"
        try:
            _copy(engine, row, its, tree, pause)
            workshop.plain("tidy", tree=tree, lowers=list(its.lowers), stubs=trees.stubs(row))
            found = workshop.do("tree-layer", tree=tree, recipe=recipe)
        except BaseException:
            treeop.remove_trees([path for path in (tree, recipe) if os.path.lexists(path)])
            raise
    return layers.StagedLayer(tree, found["diff_id"], found["size"], found["entries"], recipe=recipe, tar_bytes=found["tar_bytes"])


def _copy(engine: Engine, row: ContainerRow, its: trees.Trees, tree: str, pause: bool) -> None:
    paused = False
    if pause and trees.state_of(engine, row).status == "running":
        try:
            pausing.pause(engine, row.id)
            paused = True
        except Conflict as error:
            engine.warn(f"container {row.name} goes on while its files are read: {error.message}")
    try:
        treeop.copy_tree(its.upper, tree, layer=True)
    finally:
        if paused:
            pausing.unpause(engine, row.id)


def _squashed(store: Store, workshop: trees.Workshop, its: trees.Trees) -> layers.StagedLayer:
    from wherry.archive import streams

    reader, writer = os.pipe()
    import threading

    failure: list[BaseException] = []

    def write() -> None:
        try:
            workshop.do("tree-whole", writer, lowers=its.all)
        except BaseException as error:
            failure.append(error)
        finally:
            os.close(writer)

    source = streams.Hashed(streams.FdReader(reader))
    thread = threading.Thread(target=write)
    thread.start()
    try:
        path, entries, size = layers.stage(store, lambda fd: streams.copy_to_fd(source, fd), single=image_in.single(), recipe=True)
    finally:
        os.close(reader)
        thread.join()
    staged = layers.StagedLayer(path, source.digest, size, entries, recipe=path + ".recipe", tar_bytes=source.size)
    if failure:
        staged.drop()
        raise failure[0]
    return staged


def _diff_ids(store: Store, numbers: list[int]) -> list[str]:
    return [str(store.db.row("SELECT diff_id FROM layers WHERE id = ?", (n,))[0]) for n in numbers]


def _document(store: Store, row: ContainerRow, request: CommitRequest, config: dict[str, Any], diff_ids: list[str]) -> dict[str, Any]:
    base: dict[str, Any] = {}
    try:
        base = jsontext.loads(images.read_blob(store, images.find(store.db, row.image_id).id))
    except NotFound:
        # Removed with --force while the container stayed.
        base = {}
    created = times.format_ns(time.time_ns())
    host = platform.host()
    words = [str(w) for w in row.record()["Config"].get("Cmd") or ()]
    entry: dict[str, Any] = {"created": created, "created_by": " ".join(words)}
    if request.author:
        entry["author"] = request.author
    if request.message:
        entry["comment"] = request.message
    document: dict[str, Any] = {
        "architecture": base.get("architecture") or host.architecture,
        **{key: base[key] for key in ("variant", "os.version", "os.features") if base.get(key)},
        "os": base.get("os") or "linux",
        "created": created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [entry] if request.squash else [*(base.get("history") or []), entry],
    }
    author = request.author or base.get("author")
    if author:
        document["author"] = author
    if request.message:
        document["comment"] = request.message
    return document
