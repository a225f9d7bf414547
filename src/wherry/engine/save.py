"""`save`: images as archives. The same image gives the same bytes.

docker-archive is docker's form since 25: one tar that is both docker's (manifest.json, repositories) and an OCI layout (index.json,
oci-layout, blobs/sha256/…), its layers plain tars. oci-archive and oci-dir hold the image as it would be pushed; docker-dir is the
folder that skopeo calls `dir:`.
"""

from __future__ import annotations

import os

from wherry.archive.tarout import TarWriter, copy_file
from wherry.engine import transfer_blobs
from wherry.engine.transfer import silent
from wherry.engine.transfer_blobs import LayerSource, Made
from wherry.engine.transfer_push import manifest_of
from wherry.errors import ArchiveError, InvalidArgument, NotFound
from wherry.model import digest as digests
from wherry.model import jsontext
from wherry.model import reference as references
from wherry.model.record import Record
from wherry.registry import manifests
from wherry.store import blobs, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from wherry.store import Store

FORMATS = ("docker-archive", "oci-archive", "oci-dir", "docker-dir")
_LAYOUT = '{"imageLayoutVersion":"1.0.0"}'


class ImageToSave(Record):
    """An image, and the canonical names it is saved under (none for one that was named by its id)."""

    id: str
    names: tuple[str, ...]


def save(store: Store, names: Iterable[str], target: str | int, form: str, *, compress: bool = False, uncompressed: bool = False) -> None:
    """Write images to a descriptor, a file or (the dir forms) a folder. Raises NotFound, InvalidArgument, StoreError, OSError."""
    if form not in FORMATS:
        raise InvalidArgument(f"unknown format {form!r}: it is one of {', '.join(FORMATS)}")
    chosen = _chosen(store, list(names))
    if form == "docker-dir" and len(chosen) > 1:
        raise InvalidArgument("docker-dir holds one image only")
    with blobs.InUse(store):
        if form.endswith("-dir"):
            if isinstance(target, int):
                raise InvalidArgument(f"{form} is a folder: name it with -o")
            if form == "oci-dir":
                _oci_folder(store, chosen, target, uncompressed)
            else:
                _docker_folder(store, chosen[0], target, compress)
            return
        write = _docker_archive if form == "docker-archive" else _oci_archive
        if isinstance(target, int):
            write(store, chosen, target, uncompressed)
        else:
            _to_file(target, lambda fd: write(store, chosen, fd, uncompressed))


def _to_file(path: str, write: Any) -> None:
    """A file is there whole or not at all. What isn't a regular file (/dev/stdout, a pipe) is written to as it is."""
    if os.path.exists(path) and not os.path.isfile(path):
        if os.path.isdir(path):
            raise InvalidArgument(f"invalid output path: {path!r} must be a regular file")
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write(fd)
        finally:
            os.close(fd)
        return
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise InvalidArgument(f'invalid output path: directory "{folder}" does not exist')
    new = f"{folder}/.{os.path.basename(path)}.{os.getpid()}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write(fd)
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise
    finally:
        os.close(fd)


def _chosen(store: Store, names: list[str]) -> list[ImageToSave]:
    """Images in the order they were named, each once; a repository without a tag means all its tags, as docker has it."""
    found: dict[str, list[str]] = {}
    for name in names:
        for image_id, canonical in _meant(store, name):
            own = found.setdefault(image_id, [])
            if canonical and canonical not in own:
                own.append(canonical)
    return [ImageToSave(image_id, tuple(sorted(own))) for image_id, own in found.items()]


def _meant(store: Store, name: str) -> list[tuple[str, str]]:
    row = None
    try:
        row = images.find(store.db, name)
        reference = references.parse(name)
    except InvalidArgument:
        if row is None:
            raise
        return [(row.id, "")]
    except NotFound:
        reference = references.parse(name)
        if reference.tag or reference.digest:
            raise
    if row is not None and row.id.removeprefix("sha256:").startswith(name.removeprefix("sha256:")):
        return [(row.id, "")]
    if reference.digest or reference.tag:
        assert row is not None
        return [(row.id, "" if reference.digest else reference.canonical)]
    every = store.db.rows(
        "SELECT image_id, name FROM tags WHERE name >= ? AND name < ? ORDER BY name",
        (reference.repository + ":", reference.repository + ";"),
    )
    if not every:
        raise NotFound(f"No such image: {reference.tagged().familiar}")
    return [(str(image_id), str(canonical)) for image_id, canonical in every]


# -- docker's archive --------------------------------------------------------------------------------------------------------


def _docker_archive(store: Store, chosen: list[ImageToSave], fd: int, _uncompressed: bool) -> None:
    tars: dict[str, LayerSource] = {}
    small: dict[str, bytes] = {}
    entries, index = [], []
    repositories: dict[str, dict[str, str]] = {}
    for image in chosen:
        layers = [_measured(store, layer) for layer in _layers(store, image.id)]
        tars.update((layer.diff_id, layer) for layer in layers)
        small[image.id] = images.read_blob(store, image.id)
        manifest = manifest_of(store, image.id, [Made(x.diff_id, x.tar_bytes, "") for x in layers], manifests.OCI_MANIFEST)
        small[digests.of(manifest)] = manifest
        entries.append(_docker_entry(image, layers))
        index += _index_entries(image, manifest, manifests.OCI_MANIFEST, small[image.id])
        for name in image.names:
            reference = references.parse(name)
            # The old file names layers by their id; any unique word serves its readers.
            repositories.setdefault(reference.familiar_repository, {})[reference.tag] = (
                layers[-1].diff_id.partition(":")[2] if layers else ""
            )
    tar = TarWriter(fd)
    tar.folder("blobs")
    tar.folder("blobs/sha256")
    for digest in sorted({*tars, *small}):
        name = "blobs/" + digest.replace(":", "/")
        if digest in small:
            tar.data(name, small[digest])
        else:
            with transfer_blobs.open_tar(store, tars[digest]) as source:
                tar.stream(name, tars[digest].tar_bytes, source)
    tar.data("index.json", _index(index))
    tar.data("manifest.json", jsontext.dumps(entries).encode())
    tar.data("oci-layout", _LAYOUT.encode())
    if repositories:
        tar.data("repositories", jsontext.dumps(repositories, sort=True).encode())
    tar.finish()


def _docker_entry(image: ImageToSave, layers: list[LayerSource]) -> dict[str, Any]:
    return {
        "Config": "blobs/" + image.id.replace(":", "/"),
        "RepoTags": [references.parse(name).familiar for name in image.names] or None,
        "Layers": ["blobs/" + layer.diff_id.replace(":", "/") for layer in layers],
        "LayerSources": {
            layer.diff_id: {"mediaType": manifests.OCI_LAYER, "size": layer.tar_bytes, "digest": layer.diff_id} for layer in layers
        },
    }


def _layers(store: Store, image_id: str) -> list[LayerSource]:
    return transfer_blobs.sources(store, images.layer_numbers(store.db, image_id)[::-1])


def _measured(store: Store, layer: LayerSource) -> LayerSource:
    """With the size of its tar, found out once where the store doesn't know it."""
    if layer.tar_bytes:
        return layer
    size = 0
    with transfer_blobs.open_tar(store, layer) as source:
        while part := source.read(1 << 20):
            size += len(part)
    store.db.execute("UPDATE layers SET tar_bytes = ? WHERE id = ?", (size, layer.number))
    return layer.replace(tar_bytes=size)


def _index(entries: list[dict[str, Any]]) -> bytes:
    return jsontext.dumps({"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": entries}).encode()


def _index_entries(image: ImageToSave, manifest: bytes, media_type: str, config: bytes) -> list[dict[str, Any]]:
    """One for each name; one without annotations for an image without any."""
    document = jsontext.loads(config)
    platform = {"architecture": str(document.get("architecture") or "amd64"), "os": str(document.get("os") or "linux")}
    if document.get("variant"):
        platform["variant"] = str(document["variant"])
    entry: dict[str, Any] = {"mediaType": media_type, "digest": digests.of(manifest), "size": len(manifest)}
    found = []
    for name in image.names:
        notes = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": references.parse(name).tag}
        found.append({**entry, "annotations": notes, "platform": platform})
    return found or [{**entry, "platform": platform}]


# -- OCI layouts -------------------------------------------------------------------------------------------------------------


class _Outgoing(Record):
    """An image as it would be pushed: its manifest, and the digests of the blobs that it names."""

    manifest: bytes
    media_type: str
    blobs: tuple[str, ...]


def _outgoing(store: Store, image_id: str, media_type: str, form: str, force: bool) -> _Outgoing:
    row = images.find(store.db, image_id)
    if row.manifest_digest and not force:
        kept = manifests.parse(images.read_blob(store, row.manifest_digest), "", image_id)
        if isinstance(kept, manifests.Manifest) and kept.media_type == media_type and all(blobs.has(store, d.digest) for d in kept.layers):
            return _Outgoing(kept.data, kept.media_type, (image_id, *(d.digest for d in kept.layers)))
    made = transfer_blobs.make(store, _layers(store, image_id), form, None, silent, force=force)
    return _Outgoing(manifest_of(store, image_id, made, media_type), media_type, (image_id, *(m.digest for m in made)))


def _oci_parts(store: Store, chosen: list[ImageToSave], uncompressed: bool) -> tuple[bytes, dict[str, bytes], list[str]]:
    """(index.json, blobs that are in memory, digests of those in the store)"""
    entries: list[dict[str, Any]] = []
    small: dict[str, bytes] = {}
    large: set[str] = set()
    for image in chosen:
        found = _outgoing(store, image.id, manifests.OCI_MANIFEST, "uncompressed" if uncompressed else "gzip", uncompressed)
        small[digests.of(found.manifest)] = found.manifest
        large.update(found.blobs)
        entries += _index_entries(image, found.manifest, found.media_type, images.read_blob(store, image.id))
    return _index(entries), small, sorted(large)


def _oci_archive(store: Store, chosen: list[ImageToSave], fd: int, uncompressed: bool) -> None:
    index, small, large = _oci_parts(store, chosen, uncompressed)
    tar = TarWriter(fd)
    tar.folder("blobs")
    tar.folder("blobs/sha256")
    for digest in sorted({*small, *large}):
        name = "blobs/" + digest.replace(":", "/")
        if digest in small:
            tar.data(name, small[digest])
            continue
        source = os.open(blobs.path(store, digest), os.O_RDONLY | os.O_CLOEXEC)
        try:
            tar.file(name, source)
        finally:
            os.close(source)
    tar.data("index.json", index)
    tar.data("oci-layout", _LAYOUT.encode())
    tar.finish()


def _oci_folder(store: Store, chosen: list[ImageToSave], folder: str, uncompressed: bool) -> None:
    index, small, large = _oci_parts(store, chosen, uncompressed)
    _new_folder(folder)
    os.makedirs(folder + "/blobs/sha256", exist_ok=True)
    for digest, data in small.items():
        _put(f"{folder}/blobs/{digest.replace(':', '/')}", data)
    for digest in large:
        _copy(store, digest, f"{folder}/blobs/{digest.replace(':', '/')}")
    _put(folder + "/oci-layout", _LAYOUT.encode())
    _put(folder + "/index.json", index)


def _docker_folder(store: Store, image: ImageToSave, folder: str, compress: bool) -> None:
    form = "gzip" if compress else "uncompressed"
    found = _outgoing(store, image.id, manifests.DOCKER_MANIFEST, form, compress)
    _new_folder(folder)
    for digest in found.blobs:
        _copy(store, digest, f"{folder}/{digest.partition(':')[2]}")
    _put(folder + "/version", b"Directory Transport Version: 1.1\n")
    _put(folder + "/manifest.json", found.manifest)


def _new_folder(folder: str) -> None:
    try:
        os.makedirs(folder, 0o755, exist_ok=True)
        if os.listdir(folder):
            raise ArchiveError(f"the folder {folder} is not empty")
    except OSError as error:
        raise ArchiveError(f"{folder} can't be made: {os.strerror(error.errno or 0)}") from error


def _put(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _copy(store: Store, digest: str, path: str) -> None:
    source = os.open(blobs.path(store, digest), os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            copy_file(source, target, os.fstat(source).st_size)
        finally:
            os.close(target)
    finally:
        os.close(source)
