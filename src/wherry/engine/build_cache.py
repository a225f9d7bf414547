"""`--cache-from` and `--cache-to`: steps of builds carried from machine to machine, by a registry, a folder, or inside an image.

A cache is an OCI image manifest whose layers are steps' layers and whose config is a document of ours: which key has which layer, and
what the contents of stages are. The keys are wherry's own: no other builder's cache is understood, and none understands this one.
Whoever names a source trusts it as he trusts its images; that a layer is what its digest says is checked.
"""

from __future__ import annotations

import os
import threading

from wherry.archive import streams
from wherry.engine import transfer_blobs
from wherry.engine.image_in import single
from wherry.errors import NotFound, RegistryError, WherryError
from wherry.kernel import process
from wherry.model import digest as digests
from wherry.model import jsontext
from wherry.model import reference as references
from wherry.model.record import Record
from wherry.registry import endpoints, manifests
from wherry.registry.download import BlobStream
from wherry.registry.manifests import Descriptor
from wherry.registry.upload import upload
from wherry.store import blobs, images, layers, treeop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.engine.build_wishes import CacheSpec
    from wherry.engine.transfer import Access
    from wherry.store import Store

# In the config of an image that carries its own steps, and in the document of a cache.
INLINE = "io.wherry.buildcache"
_VERSION = 1
_CONFIG_TYPE = "application/octet-stream"


class _Known(Record):
    """A step that a source has."""

    diff_id: str
    blob: Descriptor
    created_ns: int
    text: str
    source: int


class Imported:
    """What the sources of a build know. `find` brings a step's layer into the store. May be used by several threads."""

    def __init__(self, store: Store, access: Access, warn: Callable[[str], None]) -> None:
        self._store = store
        self._warn = warn
        self._access = access
        self._steps: dict[str, _Known] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._sources: list[CacheSpec] = []
        self._lock = threading.Lock()

    def add(self, spec: CacheSpec) -> int:
        """Read a source's document; how many steps it has. Raises NotFound, RegistryError, StoreError."""
        document, blobs_of = self._local(spec.place) if spec.type == "local" else self._registry(spec.place)
        self._sources.append(spec)
        return self._take(document, blobs_of)

    def _take(self, document: dict[str, Any], blobs_of: list[tuple[str, Descriptor]]) -> int:
        if document.get("version") != _VERSION:
            raise RegistryError(f"the build cache is of the unknown version {document.get('version')!r}")
        count = 0
        for step in document.get("steps") or ():
            number = int(step["layer"])
            if not 0 <= number < len(blobs_of):
                raise RegistryError("the build cache names a layer that it has not")
            diff_id, blob = blobs_of[number]
            known = _Known(diff_id, blob, int(step["created_ns"]), str(step.get("text") or ""), len(self._sources) - 1)
            self._steps.setdefault(str(step["key"]), known)
            count += 1
        for key, what, digest in document.get("digests") or ():
            self._digests[str(key), str(what)] = str(digest)
        return count

    def digest(self, key: str, what: str) -> str:
        return self._digests.get((key, what), "")

    # -- sources ---------------------------------------------------------------------------------------------------------

    def _local(self, folder: str) -> tuple[dict[str, Any], list[tuple[str, Descriptor]]]:
        try:
            with open(f"{folder}/index.json", "rb") as file:
                index = manifests.parse(file.read(manifests.SIZE_LIMIT), manifests.OCI_INDEX, folder)
        except OSError as error:
            raise NotFound(f"no build cache in {folder}: {os.strerror(error.errno or 0).lower()}") from error
        if not isinstance(index, manifests.Index) or not index.manifests:
            raise RegistryError(f"no build cache in {folder}")
        data = _blob(folder, index.manifests[-1], manifests.SIZE_LIMIT)
        manifest = manifests.parse(data, manifests.OCI_MANIFEST, folder)
        if not isinstance(manifest, manifests.Manifest):
            raise RegistryError(f"no build cache in {folder}")
        return self._document(manifest, _blob(folder, manifest.config, manifests.CONFIG_LIMIT), folder)

    def _registry(self, name: str) -> tuple[dict[str, Any], list[tuple[str, Descriptor]]]:
        reference = references.parse(name).tagged()
        try:
            with self._access.repository(endpoints.load().pull_from(reference, self._access.tls_verify)[-1]) as repository:
                top = repository.manifest(reference.digest or reference.tag, reference.familiar)
                if isinstance(top, manifests.Index):
                    from wherry.model import platform

                    entry = manifests.choose(top, platform.host(), reference.familiar)
                    top = repository.manifest(entry.digest, reference.familiar)
                if not isinstance(top, manifests.Manifest):
                    raise RegistryError(f"{reference.familiar} is an index of indexes")
                return self._document(top, repository.small_blob(top.config, manifests.CONFIG_LIMIT), reference.familiar)
        except (WherryError, OSError):
            row = self._held(reference.canonical)
            if row is None:
                raise
            return row

    def _held(self, name: str) -> tuple[dict[str, Any], list[tuple[str, Descriptor]]] | None:
        """An image that is here and carries its steps."""
        try:
            row = images.find(self._store.db, name)
        except NotFound:
            return None
        document = jsontext.loads(images.read_blob(self._store, row.id))
        if INLINE not in document:
            return None
        none = Descriptor("", "", 0)
        return document[INLINE], [(diff_id, none) for diff_id in document["rootfs"]["diff_ids"]]

    def _document(self, manifest: manifests.Manifest, config: bytes, what: str) -> tuple[dict[str, Any], list[tuple[str, Descriptor]]]:
        document = jsontext.loads(config)
        found = document.get(INLINE)
        if not isinstance(found, dict):
            raise NotFound(f"{what} carries no build cache of wherry's")
        diff_ids = found.get("diff_ids") or (document.get("rootfs") or {}).get("diff_ids") or []
        if len(diff_ids) != len(manifest.layers):
            raise RegistryError(f"the build cache of {what} has other layers than its manifest")
        return found, [(str(d), layer) for d, layer in zip(diff_ids, manifest.layers)]

    # -- layers ----------------------------------------------------------------------------------------------------------

    def find(self, key: str, db_lock: Any) -> tuple[int, int] | None:
        """The step's layer, fetched if it isn't here, and when it was made."""
        known = self._steps.get(key)
        if known is None:
            return None
        with self._lock:
            with db_lock:
                number = layers.find(self._store, known.diff_id)
            if number is None:
                if not known.blob.digest:
                    return None
                try:
                    staged = self._fetch(known)
                except (WherryError, OSError) as error:
                    # The step is done here instead.
                    self._steps.pop(key, None)
                    self._warn(f"[Warning] a step of the build cache {self._sources[known.source].place} can't be used: {error}")
                    return None
                with db_lock:
                    number = self._settled(staged)
            with db_lock:
                self._store.db.execute(
                    "INSERT OR REPLACE INTO build_steps (key, layer_id, text, created_ns, used_ns) VALUES (?,?,?,?,?)",
                    (key, number, known.text[:1000], known.created_ns, known.created_ns),
                )
            return number, known.created_ns

    def _settled(self, staged: layers.StagedLayer) -> int:
        changes = layers.Changes(self._store)
        with self._store.db.transaction(durable=False) as db:
            number = changes.add(staged)
            db.execute("UPDATE layers SET boot_id = ? WHERE id = ?", (process.boot_id(), number))
        changes.finish()
        return number

    def _fetch(self, known: _Known) -> layers.StagedLayer:
        spec = self._sources[known.source]
        if spec.type == "local":
            with open(f"{spec.place}/blobs/{known.blob.digest.replace(':', '/')}", "rb") as file:
                return _staged(self._store, streams.Hashed(file), known)
        reference = references.parse(spec.place).tagged()
        with (
            blobs.InUse(self._store),
            self._access.repository(endpoints.load().pull_from(reference, self._access.tls_verify)[-1]) as repository,
            BlobStream(self._store, repository, known.blob) as blob,
        ):
            return _staged(self._store, streams.Hashed(blob), known)


def _staged(store: Store, raw: Any, known: _Known) -> layers.StagedLayer:
    tar = streams.Hashed(streams.plain(raw))
    path, entries, size = layers.stage(store, lambda fd: streams.copy_to_fd(tar, fd), single=single(), recipe=True)
    try:
        streams.drain(raw)
        layers.checked(tar.digest, known.diff_id)
    except BaseException:
        treeop.remove_trees([path, path + ".recipe"])
        raise
    return layers.StagedLayer(path, known.diff_id, size, entries, recipe=path + ".recipe", tar_bytes=tar.size)


def _blob(folder: str, descriptor: Descriptor, limit: int) -> bytes:
    try:
        with open(f"{folder}/blobs/{descriptor.digest.replace(':', '/')}", "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise NotFound(f"the build cache in {folder} lacks {descriptor.digest}") from error
    if digests.of(data) != descriptor.digest:
        raise RegistryError(f"the build cache in {folder} is damaged: {descriptor.digest}")
    return data


# -- out -------------------------------------------------------------------------------------------------------------------


class Outgoing(Record):
    """What a build gives away: (key, layer, created, text) of its steps, and (stage key, what, digest)."""

    steps: tuple[tuple[str, int, int, str], ...]
    digests: tuple[tuple[str, str, str], ...]


def inline(outgoing: Outgoing, numbers: list[int]) -> dict[str, Any]:
    """For the config of an image with these layers."""
    place = {number: at for at, number in enumerate(numbers)}
    steps = [_step(key, place[n], created, text) for key, n, created, text in outgoing.steps if n in place]
    return {"version": _VERSION, "steps": steps, "digests": [list(d) for d in outgoing.digests]}


def _step(key: str, layer: int, created_ns: int, text: str) -> dict[str, Any]:
    return {"key": key, "layer": layer, "created_ns": created_ns, "text": text}


def export(store: Store, outgoing: Outgoing, spec: CacheSpec, access: Access, progress: Callable[[str, str, int, int], None]) -> str:
    """Write a cache to a folder or a repository; the digest of its manifest. Layers must have their diff ids. Raises RegistryError."""
    numbers = list(dict.fromkeys(n for _key, n, _created, _text in outgoing.steps))
    with blobs.InUse(store):
        sources = transfer_blobs.sources(store, numbers)
        made = transfer_blobs.make(store, sources, spec.compression or "gzip", None, progress, force=bool(spec.compression))
        document = inline(outgoing, numbers)
        document["diff_ids"] = [source.diff_id for source in sources]
        config = jsontext.dumps({INLINE: document}).encode()
        types = [transfer_blobs.media_type(m.compression, manifests.OCI_MANIFEST) for m in made]
        manifest = jsontext.dumps(
            {
                "schemaVersion": 2,
                "mediaType": manifests.OCI_MANIFEST,
                "config": {"mediaType": _CONFIG_TYPE, "digest": digests.of(config), "size": len(config)},
                "layers": [{"mediaType": t, "digest": m.digest, "size": m.size} for t, m in zip(types, made)],
            }
        ).encode()
        if spec.type == "local":
            _to_folder(store, spec.place, manifest, config, [m.digest for m in made])
        else:
            _to_registry(store, spec.place, manifest, config, made, access)
    return digests.of(manifest)


def _to_folder(store: Store, folder: str, manifest: bytes, config: bytes, layer_blobs: list[str]) -> None:
    from wherry.archive.tarout import copy_file

    place = f"{folder}/blobs/sha256"
    os.makedirs(place, exist_ok=True)
    for digest in layer_blobs:
        target = f"{place}/{digest.partition(':')[2]}"
        if os.path.exists(target):
            continue
        staged = f"{target}.{os.getpid()}"
        with open(blobs.path(store, digest), "rb") as source, open(staged, "wb") as file:
            copy_file(source.fileno(), file.fileno(), os.fstat(source.fileno()).st_size)
        os.replace(staged, target)
    for data in (config, manifest):
        _put(f"{place}/{digests.of(data).partition(':')[2]}", data)
    entry = {
        "mediaType": manifests.OCI_MANIFEST,
        "digest": digests.of(manifest),
        "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": "latest"},
    }
    _put(f"{folder}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": [entry]}
    _put(f"{folder}/index.json", jsontext.dumps(index).encode())


def _put(path: str, data: bytes) -> None:
    staged = f"{path}.{os.getpid()}"
    with open(staged, "wb") as file:
        file.write(data)
    os.replace(staged, path)


def _to_registry(store: Store, name: str, manifest: bytes, config: bytes, made: list[transfer_blobs.Made], access: Access) -> None:
    reference = references.parse(name).tagged()
    with access.repository(endpoints.load().push_to(reference, access.tls_verify), push=True) as repository:
        for one in {m.digest: m for m in made}.values():
            if not repository.has_blob(one.digest):
                fd = os.open(blobs.path(store, one.digest), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    upload(repository, one.digest, fd, one.size, mount_from=(), sent=_quiet)
                finally:
                    os.close(fd)
        fd = os.memfd_create("config", os.MFD_CLOEXEC)
        try:
            os.write(fd, config)
            upload(repository, digests.of(config), fd, len(config), mount_from=(), sent=_quiet)
        finally:
            os.close(fd)
        repository.put_manifest(reference.tag, manifest, manifests.OCI_MANIFEST)


def _quiet(_count: int) -> None:
    return
