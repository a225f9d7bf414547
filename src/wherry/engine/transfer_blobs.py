"""The blobs of an image's layers for going out: kept ones as they are, others made of tree and recipe, compressed once and kept."""

from __future__ import annotations

import os

from wherry.archive import compress, streams
from wherry.engine.transfer_jobs import at_once
from wherry.errors import StoreError
from wherry.kernel import userns
from wherry.model.record import Record
from wherry.registry import manifests
from wherry.store import blobs, layers, treeop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.archive.streams import Readable
    from wherry.engine.transfer import Progress
    from wherry.store import Store


class LayerSource(Record):
    """A layer of the store: its number, its diff id and the blob that is known for it ("" for none)."""

    number: int
    diff_id: str
    blob_digest: str
    blob_media_type: str
    blob_size: int
    size: int
    tar_bytes: int


class Made(Record):
    """A layer's blob in blobs/. `compression` is "gzip", "zstd" or ""."""

    digest: str
    size: int
    compression: str


def sources(store: Store, numbers: list[int]) -> list[LayerSource]:
    """The layers with these numbers, in order."""
    found = []
    for number in numbers:
        row = store.db.row(
            "SELECT diff_id, blob_digest, blob_media_type, blob_size_bytes, size_bytes, tar_bytes FROM layers WHERE id = ?", (number,)
        )
        found.append(LayerSource(number, str(row[0]), row[1] or "", row[2] or "", int(row[3] or 0), int(row[4]), int(row[5] or 0)))
    return found


def open_tar(store: Store, layer: LayerSource) -> LayerTar:
    """The layer's tar, byte for byte as its diff id says (checked when it is read to its end). Close it. Raises StoreError."""
    recipe = blobs.recipe_path(store, layer.diff_id)
    if os.path.exists(recipe):
        packed = treeop.Packed(store.path("layers", str(layer.number)), recipe)
        return LayerTar(packed, packed.close, layer.diff_id)
    if blobs.has(store, layer.blob_digest):
        file = open(blobs.path(store, layer.blob_digest), "rb")
        return LayerTar(streams.plain(file), file.close, layer.diff_id)
    raise StoreError(
        f"the layer {layer.diff_id} has neither its blob nor a recipe of it",
        hint="it came into the store by an older wherry: pull or load its image again",
    )


class LayerTar:
    """A tar that must have a diff id. Use it as a context manager."""

    def __init__(self, source: Readable, close: Callable[[], None], diff_id: str) -> None:
        self._close = close
        self._source = streams.Hashed(source)
        self._diff_id = diff_id

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        if not data and size and self._source.digest != self._diff_id:
            raise StoreError(
                f"the layer {self._diff_id} has other files than it was made with", hint="remove its images and pull or load them again"
            )
        return data

    def __enter__(self) -> LayerTar:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()


def make(store: Store, wanted: list[LayerSource], form: str, level: int | None, progress: Progress, *, force: bool = False) -> list[Made]:
    """Blobs of layers, compressed as `form` says where there is none yet (with `force`: where there is another one). Raises StoreError."""
    userns.enter_command()
    jobs = [_job(store, layer, form, level, progress, force) for layer in wanted]
    done = at_once(jobs, max(1, os.cpu_count() or 1)) if jobs else []
    for layer, made in zip(wanted, done):
        if made.digest != layer.blob_digest:
            layers.set_blob(store, layer.number, made.digest, media_type(made.compression, manifests.OCI_MANIFEST), made.size)
    return done


def _job(store: Store, layer: LayerSource, form: str, level: int | None, progress: Progress, force: bool) -> Callable[[], Made]:
    def job() -> Made:
        if blobs.has(store, layer.blob_digest):
            kept = _kind(store, layer.blob_digest)
            if not force or kept == form or kept == "" and form == "uncompressed":
                return Made(layer.blob_digest, os.stat(blobs.path(store, layer.blob_digest)).st_size, kept)
        progress(layer.diff_id[7:19], "Compressing", 0, layer.size)
        return _compressed(store, layer, form, level)

    return job


def _kind(store: Store, digest: str) -> str:
    with open(blobs.path(store, digest), "rb") as file:
        return streams.compression_of(file.read(6))


def _compressed(store: Store, layer: LayerSource, form: str, level: int | None) -> Made:
    staged = store.staging("blob")
    fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open_tar(store, layer) as tar:
            digest, size = compress.compress(tar, fd, form, level)
        os.fsync(fd)
    except BaseException:
        os.unlink(staged)
        raise
    finally:
        os.close(fd)
    os.rename(staged, blobs.path(store, digest))
    return Made(digest, size, "" if form == "uncompressed" else form)


def media_type(compression: str, manifest_type: str) -> str:
    """A layer's media type by its compression, for a manifest of OCI or of docker."""
    if manifest_type == manifests.DOCKER_MANIFEST:
        return manifests.DOCKER_LAYER + (f".{compression}" if compression else "")
    return manifests.OCI_LAYER + (f"+{compression}" if compression else "")
