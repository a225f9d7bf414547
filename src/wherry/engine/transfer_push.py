"""`push`: from the store into a repository. What is there already isn't sent; what the same registry has elsewhere is mounted."""

from __future__ import annotations

import os

from wherry.archive.compress import checked_format
from wherry.engine import transfer_blobs
from wherry.engine.transfer import Access, silent
from wherry.engine.transfer_blobs import LayerSource, Made
from wherry.engine.transfer_jobs import at_once
from wherry.errors import InvalidArgument, NotFound
from wherry.model import digest as digests
from wherry.model import jsontext
from wherry.model import reference as references
from wherry.model.record import Record
from wherry.registry import endpoints, manifests
from wherry.registry.upload import upload
from wherry.store import blobs, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.engine.transfer import Progress
    from wherry.model.reference import Reference
    from wherry.registry.client import Repository
    from wherry.store import Store
    from wherry.store.images import ImageRow

UPLOADS = 5
_FORMATS = {"": "", "oci": manifests.OCI_MANIFEST, "v2s2": manifests.DOCKER_MANIFEST, "docker": manifests.DOCKER_MANIFEST}


class PushWishes(Record):
    """`manifest_format`: "oci", "v2s2" or "" (as the image came; docker's for one that never had a manifest)."""

    access: Access = Access()
    compression: str = ""
    level: int | None = None
    force_compression: bool = False
    manifest_format: str = ""
    uploads: int = UPLOADS


class Pushed(Record):
    name: str
    digest: str
    size: int


def push(
    store: Store, name: str, wishes: PushWishes, progress: Progress | None = None, *, source: str = "", by_digest: bool = False
) -> Pushed:
    """Send an image under its name (or `source` under the name `name`; `by_digest`: without its tag).

    Raises NotFound, AccessDenied, RegistryError, StoreError."""
    reference = references.parse(name).tagged()
    if reference.digest:
        raise InvalidArgument("cannot push a digest reference")
    row = _image(store, reference, source)
    repository = wishes.access.repository(endpoints.load().push_to(reference, wishes.access.tls_verify), push=True)
    show = progress or silent
    show("", f"The push refers to repository [{reference.repository}]", 0, 0)
    with repository, blobs.InUse(store):
        return _Push(store, reference, row, repository, wishes, show).run(by_digest=by_digest)


def push_all(store: Store, name: str, wishes: PushWishes, progress: Progress | None = None) -> list[Pushed]:
    """Every local tag of a repository."""
    reference = references.parse(name)
    if reference.tag or reference.digest:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    names = [n for (n,) in store.db.rows("SELECT name FROM tags ORDER BY name") if n.startswith(reference.repository + ":")]
    if not names:
        raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_repository}")
    return [push(store, n, wishes, progress) for n in names]


def _image(store: Store, reference: Reference, source: str) -> ImageRow:
    try:
        return images.find(store.db, source or reference.canonical)
    except NotFound:
        if source:
            raise
        known = store.db.row("SELECT 1 FROM tags WHERE name >= ? AND name < ?", (reference.repository + ":", reference.repository + ";"))
        if known:
            raise NotFound(f"tag does not exist: {reference.familiar}") from None
        raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_repository}") from None


class _Push:
    def __init__(
        self, store: Store, reference: Reference, row: ImageRow, repository: Repository, wishes: PushWishes, progress: Progress
    ) -> None:
        self._store = store
        self._reference = reference
        self._row = row
        self._repository = repository
        self._wishes = wishes
        self._progress = progress
        self._form = checked_format(wishes.compression)
        if wishes.manifest_format not in _FORMATS:
            raise InvalidArgument(f"unknown format {wishes.manifest_format!r}: it is oci or v2s2")

    def run(self, *, by_digest: bool = False) -> Pushed:
        data, media_type = self.send()
        digest = self._repository.put_manifest(digests.of(data) if by_digest else self._reference.tag, data, media_type)
        self._remember(data, digest)
        self._progress("", f"{self._reference.tag}: digest: {digest} size: {len(data)}", 0, 0)
        return Pushed(self._reference.canonical, digest, len(data))

    def send(self) -> tuple[bytes, str]:
        """Send all but the manifest, which is returned with its media type."""
        layers = transfer_blobs.sources(self._store, images.layer_numbers(self._store.db, self._row.id)[::-1])
        for layer in reversed(layers):
            self._progress(layer.diff_id[7:19], "Preparing", 0, 0)
        kept = self._kept_manifest()
        if kept is not None and self._send_kept(kept, layers):
            return kept.data, kept.media_type
        return self._send_new(layers)

    def _kept_manifest(self) -> manifests.Manifest | None:
        """The manifest that the image came with or was pushed with, if nothing else is asked for."""
        if not self._row.manifest_digest or self._form or self._wishes.force_compression:
            return None
        found = manifests.parse(images.read_blob(self._store, self._row.manifest_digest), "", self._reference.familiar)
        if (
            not isinstance(found, manifests.Manifest)
            or self._wishes.manifest_format
            and _FORMATS[self._wishes.manifest_format] != found.media_type
        ):
            return None
        return found

    def _send_kept(self, kept: manifests.Manifest, layers: list[LayerSource]) -> bool:
        """Send what the manifest names, byte for byte; False when a blob of it is neither here nor there."""
        there = at_once([self._asking(d.digest) for d in kept.layers], self._wishes.uploads)
        missing = [d for d, has in zip(kept.layers, there) if not has]
        if any(not blobs.has(self._store, d.digest) for d in missing):
            return False
        jobs: list[Callable[[], None]] = []
        for descriptor, layer, has in zip(kept.layers, layers, there):
            if has:
                self._progress(layer.diff_id[7:19], "Layer already exists", 0, 0)
            else:
                jobs.append(self._sending(layer, Made(descriptor.digest, descriptor.size, "")))
        if jobs:
            at_once(jobs, self._wishes.uploads)
        self._send_config()
        return True

    def _asking(self, digest: str) -> Callable[[], bool]:
        return lambda: self._repository.has_blob(digest)

    def _send_new(self, layers: list[LayerSource]) -> tuple[bytes, str]:
        form = self._form or "gzip"
        force = bool(self._form) or self._wishes.force_compression
        made = transfer_blobs.make(self._store, layers, form, self._wishes.level, self._progress, force=force)
        media_type = _FORMATS[self._wishes.manifest_format] or (
            manifests.OCI_MANIFEST if any(m.compression == "zstd" for m in made) or self._was_oci() else manifests.DOCKER_MANIFEST
        )
        if media_type == manifests.DOCKER_MANIFEST and any(m.compression == "zstd" for m in made):
            raise InvalidArgument("docker's manifests of schema 2 know no zstd: push with --format oci")
        self._upload_all(layers, made)
        self._send_config()
        return manifest_of(self._store, self._row.id, made, media_type), media_type

    def _was_oci(self) -> bool:
        if not self._row.manifest_digest:
            return False
        return (
            manifests.parse(images.read_blob(self._store, self._row.manifest_digest), "", "the image").media_type == manifests.OCI_MANIFEST
        )

    def _upload_all(self, layers: list[LayerSource], made: list[Made]) -> None:
        seen: set[str] = set()
        jobs = []
        for layer, blob in zip(layers, made):
            if blob.digest not in seen:
                seen.add(blob.digest)
                jobs.append(self._checking(layer, blob))
        if jobs:
            at_once(jobs, self._wishes.uploads)

    def _checking(self, layer: LayerSource, blob: Made) -> Callable[[], None]:
        send = self._sending(layer, blob)

        def job() -> None:
            if self._repository.has_blob(blob.digest):
                self._progress(layer.diff_id[7:19], "Layer already exists", 0, 0)
            else:
                send()

        return job

    def _sending(self, layer: LayerSource, blob: Made) -> Callable[[], None]:
        others = self._others(layer.number)
        name = layer.diff_id[7:19]

        def job() -> None:
            def sent(count: int) -> None:
                self._progress(name, "Pushing", count, blob.size)

            fd = os.open(blobs.path(self._store, blob.digest), os.O_RDONLY | os.O_CLOEXEC)
            try:
                mounted = upload(self._repository, blob.digest, fd, blob.size, mount_from=others, sent=sent)
            finally:
                os.close(fd)
            self._progress(name, f"Mounted from {mounted}" if mounted else "Pushed", 0, 0)

        return job

    def _others(self, number: int) -> tuple[str, ...]:
        """Paths of other repositories of the same registry whose images here have this layer: it may be mounted from them."""
        prefix = self._reference.domain + "/"
        rows = self._store.db.rows(
            "SELECT DISTINCT t.name FROM tags t JOIN image_layers l ON l.image_id = t.image_id WHERE l.layer_id = ? AND t.name LIKE ?",
            (number, prefix + "%@%"),
        )
        paths = {references.parse(name).path for (name,) in rows} - {self._reference.path}
        return tuple(sorted(paths))[:3]

    def _send_config(self) -> None:
        digest = self._row.id
        if self._repository.has_blob(digest):
            return
        fd = os.open(blobs.path(self._store, digest), os.O_RDONLY | os.O_CLOEXEC)
        try:
            upload(self._repository, digest, fd, os.fstat(fd).st_size, mount_from=(), sent=_quiet)
        finally:
            os.close(fd)

    def _remember(self, data: bytes, digest: str) -> None:
        """The image has this digest as a name now, and goes out with the same manifest next time."""
        images.put_blob(self._store, data)
        with self._store.db.transaction() as db:
            if db.row("SELECT 1 FROM images WHERE id = ?", (self._row.id,)):
                images.set_tag(db, self._reference.replace(tag="", digest=digest).canonical, self._row.id)
                db.execute("UPDATE images SET manifest_digest = ? WHERE id = ?", (digest, self._row.id))


def send_image(store: Store, reference: Reference, row: ImageRow, repository: Repository, progress: Progress) -> None:
    """Bring an image into a repository without a tag, by the digest of its manifest."""
    data, media_type = _Push(store, reference, row, repository, PushWishes(), progress).send()
    repository.put_manifest(digests.of(data), data, media_type)


def outgoing_manifest(store: Store, row: ImageRow) -> tuple[bytes, str]:
    """The manifest that an image goes out with, made (and its layers compressed) now if it never had one; with its media type."""
    if row.manifest_digest:
        data = images.read_blob(store, row.manifest_digest)
        return data, manifests.parse(data, "", row.id).media_type
    layers = transfer_blobs.sources(store, images.layer_numbers(store.db, row.id)[::-1])
    made = transfer_blobs.make(store, layers, "gzip", None, silent)
    data = manifest_of(store, row.id, made, manifests.DOCKER_MANIFEST)
    images.put_blob(store, data)
    store.db.execute("UPDATE images SET manifest_digest = ? WHERE id = ?", (digests.of(data), row.id))
    return data, manifests.DOCKER_MANIFEST


def manifest_of(store: Store, image_id: str, made: list[Made], media_type: str) -> bytes:
    """A manifest of an image in the store with these blobs as its layers; the same input gives the same bytes."""
    docker = media_type == manifests.DOCKER_MANIFEST
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {
            "mediaType": manifests.DOCKER_CONFIG if docker else manifests.OCI_CONFIG,
            "digest": image_id,
            "size": os.stat(blobs.path(store, image_id)).st_size,
        },
        "layers": [{"mediaType": transfer_blobs.media_type(m.compression, media_type), "digest": m.digest, "size": m.size} for m in made],
    }
    return jsontext.dumps(document).encode()


def _quiet(_count: int) -> None:
    return
