"""Images that come in: `import` of a root file system, `load` of an archive."""

from __future__ import annotations

import os
import time

from wherry.archive import imageconfig, layout, streams
from wherry.engine.changes import changed
from wherry.errors import ArchiveError, Unsupported
from wherry.kernel import userns
from wherry.model import jsontext, platform, reference, times
from wherry.store import images, layers, treeop
from wherry.store.images import ImageRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from io import BufferedReader

    from wherry.archive.layout import Folder, ImageInArchive, Layer, Tar
    from wherry.store import Store


def import_(store: Store, source: str | int, *, name: str, changes: Iterable[str], message: str, platform: str) -> str:
    """One layer, one image, docker's `import`. Raises ArchiveError, InvalidArgument, Unsupported (URLs)."""
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        raise Unsupported(f"import from a URL is not supported yet: {source}", hint="fetch it and give `import -` its bytes")
    target = reference.parse(name).tagged() if name else None
    config = changed(changes)
    wanted = _platform(platform)
    opened = _opened(source)
    stream = streams.Hashed(streams.plain(opened))
    try:
        path, entries, size = layers.stage(store, lambda fd: streams.copy_to_fd(stream, fd), single=single(), recipe=True)
    finally:
        if not isinstance(opened, streams.FdReader):
            opened.close()
    created = times.format_ns(time.time_ns())
    document = {
        "architecture": wanted.architecture,
        **({"variant": wanted.variant} if wanted.variant else {}),
        "os": wanted.os,
        "created": created,
        "comment": message or f"Imported from {source if isinstance(source, str) else '-'}",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [stream.digest]},
        "history": [{"created": created, "comment": message or f"Imported from {source if isinstance(source, str) else '-'}"}],
    }
    staged = layers.StagedLayer(path, stream.digest, size, entries, recipe=path + ".recipe", tar_bytes=stream.size)
    return commit(store, jsontext.dumps(document).encode("utf-8", "surrogateescape"), [staged], [target] if target else [], b"")


def _opened(source: str | int) -> streams.FdReader | BufferedReader:
    if isinstance(source, int):
        return streams.FdReader(source)
    try:
        return open(source, "rb")
    except OSError as error:
        raise ArchiveError(f"open {source}: {os.strerror(error.errno or 0).lower()}") from error


def single() -> bool:
    return userns.current().mode == "single"


def _platform(text: str) -> platform.Platform:
    return platform.parse(text) if text else platform.host()


def load(store: Store, source: str | int, *, platform: str, progress: Callable[[str], None] | None) -> list[str]:
    """All images of an archive; returns docker's lines. Raises ArchiveError; what was loaded before stays."""
    archive = layout.open_archive(source, store.staging("spool"))
    lines = []
    try:
        for image in layout.images(archive, _platform(platform)):
            image_id = _load_image(store, archive, image, progress)
            names = [reference.parse(n).tagged().familiar for n in image.names]
            lines += [f"Loaded image: {n}" for n in names] or [f"Loaded image ID: {image_id}"]
    finally:
        archive.close()
    return lines


def bring(store: Store, archive: Folder | Tar, image: ImageInArchive) -> str:
    """One image of an archive, without a name; its id."""
    return _load_image(store, archive, image.replace(names=()), None)


def _load_image(store: Store, archive: Folder | Tar, image: ImageInArchive, progress: Callable[[str], None] | None) -> str:
    document = imageconfig.parse(image.config)
    diff_ids = imageconfig.diff_ids(document)
    if len(diff_ids) != len(image.layers):
        raise ArchiveError(f"the archive's image has {len(image.layers)} layers, its config says {len(diff_ids)}")
    targets = [reference.parse(name).tagged() for name in image.names]
    wanted: list[layers.StagedLayer | int] = []
    try:
        for layer, diff_id in zip(image.layers, diff_ids):
            known = layers.find(store, diff_id)
            if known is not None:
                wanted.append(known)
                continue
            if progress is not None:
                progress(f"Loading layer {diff_id[7:19]}")
            wanted.append(_stage_layer(store, archive, layer, diff_id))
        return commit(store, image.config, wanted, targets, image.manifest)
    except BaseException:
        for staged in wanted:
            if isinstance(staged, layers.StagedLayer):
                staged.drop()
        raise


def _stage_layer(store: Store, archive: Folder | Tar, layer: Layer, diff_id: str) -> layers.StagedLayer:
    raw, tar = layout.layer_stream(archive, layer)

    def feed(fd: int) -> None:
        streams.copy_to_fd(tar, fd)

    path, entries, size = layers.stage(store, feed, single=single(), recipe=True)
    try:
        # Bytes behind the compressed stream belong to the blob and its digest, too.
        streams.drain(raw)
        layers.checked(tar.digest, diff_id)
        if layer.digest.startswith("sha256:") and raw.digest != layer.digest:
            raise ArchiveError(f"the layer {layer.digest} has another digest: {raw.digest}")
    except BaseException:
        treeop.remove_trees([path, path + ".recipe"])
        raise
    return layers.StagedLayer(path, diff_id, size, entries, raw.digest, layer.media_type, raw.size, path + ".recipe", tar.size)


def commit(store: Store, config: bytes, wanted: list[layers.StagedLayer | int], targets: list[reference.Reference], manifest: bytes) -> str:
    """Sync the staged trees, write the blobs, then everything else in one transaction."""
    if any(isinstance(w, layers.StagedLayer) for w in wanted):
        treeop.sync(store.root)
    document = imageconfig.parse(config)
    image_id = images.put_blob(store, config)
    manifest_digest = images.put_blob(store, manifest) if manifest else None
    changes = layers.Changes(store)
    with store.db.transaction() as db:
        numbers = [changes.add(w) if isinstance(w, layers.StagedLayer) else w for w in wanted]
        size = sum(int(db.row("SELECT size_bytes FROM layers WHERE id = ?", (n,))[0]) for n in numbers)
        row = ImageRow(
            id=image_id,
            manifest_digest=manifest_digest,
            os=str(document.get("os") or "linux"),
            architecture=str(document.get("architecture") or ""),
            variant=str(document.get("variant") or ""),
            created_ns=imageconfig.created_ns(document),
            size_bytes=size,
            config_text=jsontext.dumps(document.get("config") or {}),
            parent_id=None,
            stored_ns=time.time_ns(),
        )
        images.insert(db, row, numbers)
        for target in targets:
            images.set_tag(db, target.canonical, image_id)
    changes.finish()
    return image_id
