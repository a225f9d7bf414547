"""Images that come in: `import` of a root file system, `load` of an archive."""

from __future__ import annotations

import os
import time

from wherry.archive import layout, streams
from wherry.errors import ArchiveError, InvalidArgument, Unsupported
from wherry.kernel import userns
from wherry.model import jsontext, platform, reference, times
from wherry.store import images, layers, treeop
from wherry.store.images import ImageRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from io import BufferedReader
    from typing import Any

    from wherry.archive.layout import Folder, ImageInArchive, Layer, Tar
    from wherry.store import Store


def import_(store: Store, source: str | int, *, name: str, changes: Iterable[str], message: str, platform: str) -> str:
    """One layer, one image, docker's `import`. Raises ArchiveError, InvalidArgument, Unsupported (URLs)."""
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        raise Unsupported(f"import from a URL is not supported yet: {source}", hint="fetch it and give `import -` its bytes")
    target = reference.parse(name).tagged() if name else None
    config = _changed(changes)
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


def _load_image(store: Store, archive: Folder | Tar, image: ImageInArchive, progress: Callable[[str], None] | None) -> str:
    document = config_of(image.config)
    diff_ids = [str(d) for d in (document.get("rootfs") or {}).get("diff_ids") or ()]
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


def config_of(data: bytes) -> dict[str, Any]:
    try:
        document = jsontext.loads(data)
    except ValueError as error:
        raise ArchiveError(f"the image's config is not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("config") or {}, dict):
        raise ArchiveError("the image's config is malformed")
    return document


def commit(store: Store, config: bytes, wanted: list[layers.StagedLayer | int], targets: list[reference.Reference], manifest: bytes) -> str:
    """Sync the staged trees, write the blobs, then everything else in one transaction."""
    if any(isinstance(w, layers.StagedLayer) for w in wanted):
        treeop.sync(store.root)
    document = config_of(config)
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
            created_ns=_created(document),
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


def _created(document: dict[str, Any]) -> int:
    try:
        return times.parse_ns(str(document.get("created") or ""))
    except InvalidArgument:
        return 0


# -- changes (`import -c`) ---------------------------------------------------------------------------------------------------


def _changed(changes: Iterable[str]) -> dict[str, Any]:
    """A config out of Dockerfile instructions. Raises InvalidArgument."""
    config: dict[str, Any] = {}
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        make = _INSTRUCTIONS.get(word.upper())
        if make is None:
            raise InvalidArgument(f"{word} is not a valid change command")
        if not rest.strip():
            raise InvalidArgument(f"{word.upper()} requires at least one argument")
        make(config, rest.strip())
    return config


def _argv(rest: str) -> list[str]:
    if rest.startswith("["):
        try:
            words = jsontext.loads(rest)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(w, str) for w in words):
            return words
    return ["/bin/sh", "-c", rest]


def _pairs(rest: str) -> dict[str, str]:
    """KEY=VALUE …, or the older KEY VALUE."""
    import shlex

    words = shlex.split(rest)
    if "=" not in words[0]:
        key, _, value = rest.partition(" ")
        return {key: value.strip()}
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        found[key] = value
    return found


def _set(key: str) -> Callable[[dict[str, Any], str], None]:
    def change(config: dict[str, Any], rest: str) -> None:
        config[key] = rest

    return change


def _set_argv(key: str) -> Callable[[dict[str, Any], str], None]:
    def change(config: dict[str, Any], rest: str) -> None:
        config[key] = _argv(rest)

    return change


def _env(config: dict[str, Any], rest: str) -> None:
    for key, value in _pairs(rest).items():
        config["Env"] = [e for e in config.get("Env", ()) if e.partition("=")[0] != key] + [f"{key}={value}"]


def _label(config: dict[str, Any], rest: str) -> None:
    config.setdefault("Labels", {}).update(_pairs(rest))


def _expose(config: dict[str, Any], rest: str) -> None:
    for port in rest.split():
        config.setdefault("ExposedPorts", {})[port if "/" in port else port + "/tcp"] = {}


def _volume(config: dict[str, Any], rest: str) -> None:
    words = _argv(rest)
    paths = rest.split() if words[:2] == ["/bin/sh", "-c"] else words
    for path in paths:
        config.setdefault("Volumes", {})[path] = {}


def _onbuild(config: dict[str, Any], rest: str) -> None:
    config.setdefault("OnBuild", []).append(rest)


_INSTRUCTIONS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "CMD": _set_argv("Cmd"),
    "ENTRYPOINT": _set_argv("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _set("StopSignal"),
    "USER": _set("User"),
    "VOLUME": _volume,
    "WORKDIR": _set("WorkingDir"),
}
