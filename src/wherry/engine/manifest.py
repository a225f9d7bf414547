"""Manifest lists: made here out of images of registries or of the store, pushed as an index. docker's `manifest` and podman's."""

from __future__ import annotations

import os

from wherry.engine.transfer import Access, silent
from wherry.errors import Conflict, InvalidArgument, NotFound, RegistryError
from wherry.model import digest as digests
from wherry.model import jsontext
from wherry.model import platform as platforms
from wherry.model import reference as references
from wherry.model.record import Record
from wherry.registry import endpoints, manifests
from wherry.registry.client import Missing
from wherry.store import blobs, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from wherry.model.reference import Reference
    from wherry.registry.client import Repository
    from wherry.store import Store


class Annotation(Record):
    """What `annotate` and `add` may say of an entry; "" and empty: as it is."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


def _name(text: str) -> Reference:
    reference = references.parse(text).tagged()
    if reference.digest:
        raise InvalidArgument("a manifest list is named by a tag, not by a digest")
    return reference


def exists(store: Store, name: str) -> bool:
    return store.db.row("SELECT 1 FROM manifest_lists WHERE name = ?", (_name(name).canonical,)) is not None


def _load(store: Store, name: str) -> dict[str, Any]:
    row = store.db.row("SELECT record FROM manifest_lists WHERE name = ?", (_name(name).canonical,))
    if row is None:
        raise NotFound(f"No such manifest: {_name(name).canonical}")
    return dict(jsontext.loads(row[0]))


def _save(store: Store, name: str, record: dict[str, Any]) -> None:
    store.db.execute("INSERT OR REPLACE INTO manifest_lists (name, record) VALUES (?,?)", (_name(name).canonical, jsontext.dumps(record)))


def create(store: Store, name: str, members: Iterable[str], access: Access, *, amend: bool = False, every: bool = False) -> str:
    """Make a list out of images; returns its canonical name. Raises Conflict (it is there, and no `amend`), NotFound, RegistryError."""
    there = exists(store, name)
    if there and not amend:
        raise Conflict("refusing to amend an existing manifest list with no --amend flag")
    record = _load(store, name) if there else {"entries": []}
    for member in members:
        _add(store, record, member, access, every)
    _save(store, name, record)
    return _name(name).canonical


def add(store: Store, name: str, member: str, access: Access, said: Annotation, *, every: bool = False) -> str:
    """Add an image to a list; returns the digest of the list. Raises NotFound, RegistryError."""
    record = _load(store, name)
    for entry in _add(store, record, member, access, every):
        _annotate(entry, said)
    _save(store, name, record)
    return digests.of(_document(record))


def annotate(store: Store, name: str, member: str, said: Annotation) -> None:
    """Say more of an entry, which is named by its digest or by the name it was added under. Raises NotFound, InvalidArgument."""
    record = _load(store, name)
    _annotate(_entry(record, name, member), said)
    _save(store, name, record)


def remove(store: Store, name: str, member: str) -> None:
    """Take an entry out. Raises NotFound."""
    record = _load(store, name)
    record["entries"].remove(_entry(record, name, member))
    _save(store, name, record)


def digest(store: Store, name: str, notes: dict[str, str] | None = None) -> str:
    """The digest of the list as it would be pushed, with these annotations of its own from now on. Raises NotFound."""
    record = _load(store, name)
    if notes:
        record["annotations"] = notes
        _save(store, name, record)
    return digests.of(_document(record))


def stands_for(store: Store, name: str) -> bool:
    """Whether a name is one of an image here and of a list that this image is in: a build for several platforms leaves that."""
    try:
        row = images.find(store.db, _name(name).canonical)
        return exists(store, name) and any(entry["image"] == row.id for entry in _load(store, name)["entries"])
    except (NotFound, InvalidArgument):
        return False


def members(store: Store) -> set[str]:
    """Ids of the images here that some list needs."""
    found = set()
    for (text,) in store.db.rows("SELECT record FROM manifest_lists"):
        found |= {str(entry["image"]) for entry in jsontext.loads(text)["entries"] if entry.get("image")}
    return found


def drop(store: Store, name: str) -> str:
    """Forget a list; returns its canonical name. Raises NotFound."""
    _load(store, name)
    store.db.execute("DELETE FROM manifest_lists WHERE name = ?", (_name(name).canonical,))
    return _name(name).canonical


def _entry(record: dict[str, Any], name: str, member: str) -> dict[str, Any]:
    wanted = member if digests.is_digest(member) else references.parse(member).tagged().canonical
    for entry in record["entries"]:
        if wanted in (entry["digest"], entry["source"]) or wanted.endswith("@" + entry["digest"]):
            return dict_of(entry)
    raise NotFound(f"manifest for image {member} does not exist in {name}")


def dict_of(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise InvalidArgument("the manifest list is damaged")
    return entry


def _annotate(entry: dict[str, Any], said: Annotation) -> None:
    platform = entry.setdefault("platform", {})
    for key, value in (("os", said.os), ("architecture", said.architecture), ("variant", said.variant), ("os.version", said.os_version)):
        if value:
            platform[key] = value
    for key, values in (("os.features", said.os_features), ("features", said.features)):
        if values:
            platform[key] = list(dict.fromkeys([*platform.get(key, ()), *values]))
    for pair in said.annotations:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"no value given for annotation {pair!r}: it is KEY=VALUE")
        entry.setdefault("annotations", {})[key] = value


def _add(store: Store, record: dict[str, Any], member: str, access: Access, every: bool) -> list[dict[str, Any]]:
    """Put an image's manifest in, in the place of one with the same digest; with `every` all entries of an index."""
    member = member.removeprefix("docker://").removeprefix("containers-storage:")
    found = _local(store, member) or _remote(member, access, every)
    digests_of_found = {entry["digest"] for entry in found}
    record["entries"] = [e for e in record["entries"] if e["digest"] not in digests_of_found] + found
    return found


def _local(store: Store, member: str) -> list[dict[str, Any]]:
    from wherry.engine.transfer_push import outgoing_manifest

    try:
        row = images.find(store.db, member)
    except (NotFound, InvalidArgument):
        return []
    with blobs.InUse(store):
        data, media_type = outgoing_manifest(store, row)
    platform = {"architecture": row.architecture, "os": row.os, **({"variant": row.variant} if row.variant else {})}
    return [_new(data, media_type, platform, _source(member), row.id)]


def _source(member: str) -> str:
    try:
        return references.parse(member).tagged().canonical
    except InvalidArgument:
        return member


def _new(data: bytes, media_type: str, platform: dict[str, Any], source: str, image_id: str) -> dict[str, Any]:
    entry = {"mediaType": media_type, "size": len(data), "digest": digests.of(data), "platform": platform}
    return {**entry, "source": source, "image": image_id}


def _remote(member: str, access: Access, every: bool) -> list[dict[str, Any]]:
    reference = references.parse(member).tagged()
    with access.repository(endpoints.load().pull_from(reference, access.tls_verify)[-1]) as repository:
        try:
            top = repository.manifest(reference.digest or reference.tag, reference.familiar)
        except Missing as error:
            raise NotFound(f"no such manifest: {reference.canonical}") from error
        return _remote_entries(repository, reference, top, every)


def _remote_entries(
    repository: Repository, reference: Reference, top: manifests.Manifest | manifests.Index, every: bool
) -> list[dict[str, Any]]:
    if isinstance(top, manifests.Manifest):
        return [_remote_entry(repository, reference, top)]
    chosen = (
        [d for d in top.manifests if d.platform is not None] if every else [manifests.choose(top, platforms.host(), reference.familiar)]
    )
    found = []
    for descriptor in chosen:
        if descriptor.platform is not None and descriptor.platform.os == "unknown":
            continue
        inner = repository.manifest(descriptor.digest, reference.familiar)
        if isinstance(inner, manifests.Index):
            raise RegistryError(f"{reference.familiar} is an index of indexes")
        found.append(_remote_entry(repository, reference, inner))
    return found


def _remote_entry(repository: Repository, reference: Reference, manifest: manifests.Manifest) -> dict[str, Any]:
    """The platform stands in the config."""
    config = jsontext.loads(repository.small_blob(manifest.config, manifests.CONFIG_LIMIT))
    platform = {"architecture": str(config.get("architecture") or ""), "os": str(config.get("os") or "linux")}
    for key in ("variant", "os.version"):
        if config.get(key):
            platform[key] = str(config[key])
    return _new(manifest.data, manifest.media_type, platform, reference.canonical, "")


def _document(record: dict[str, Any], media_type: str = "") -> bytes:
    """The index as it is pushed: docker's list if all members are docker's, else OCI's."""
    entries = [{k: v for k, v in e.items() if k not in ("source", "image")} for e in record["entries"]]
    notes = record.get("annotations")
    docker = all(e["mediaType"] == manifests.DOCKER_MANIFEST for e in entries) and not any(e.get("annotations") for e in [*entries, record])
    kind = media_type or (manifests.DOCKER_LIST if docker else manifests.OCI_INDEX)
    document = {"schemaVersion": 2, "mediaType": kind, "manifests": entries, **({"annotations": notes} if notes else {})}
    return jsontext.dumps(document, indent=3).encode()


def inspect(store: Store, name: str, member: str, access: Access) -> bytes:
    """The list as it would be pushed; with `member` one of its entries; of what is no list here, what the registry has. Raises NotFound."""
    if exists(store, name):
        record = _load(store, name)
        if not member:
            return _document(record)
        return jsontext.dumps({k: v for k, v in _entry(record, name, member).items() if k not in ("source", "image")}, indent=3).encode()
    reference = references.parse(member or name).tagged()
    try:
        with access.repository(endpoints.load().pull_from(reference, access.tls_verify)[-1]) as repository:
            return repository.manifest(reference.digest or reference.tag, reference.familiar).data
    except Missing as error:
        raise NotFound(f"no such manifest: {reference.canonical}") from error


def push(store: Store, name: str, target: str, access: Access, *, purge: bool = False, form: str = "", progress: Any = None) -> str:
    """Send a list, and those of its images that the repository lacks; returns its digest. Raises NotFound, RegistryError."""
    record = _load(store, name)
    if not record["entries"]:
        raise InvalidArgument(f"{_name(name).canonical} has no entries: add some first")
    reference = _name(target or name)
    kinds = {"": "", "oci": manifests.OCI_INDEX, "v2s2": manifests.DOCKER_LIST}
    if form not in kinds:
        raise InvalidArgument(f"unknown format {form!r}: it is oci or v2s2")
    repository = access.repository(endpoints.load().push_to(reference, access.tls_verify), push=True)
    with repository, blobs.InUse(store):
        for entry in record["entries"]:
            _bring(store, reference, repository, entry, access, progress or silent)
        data = _document(record, kinds[form])
        digest = repository.put_manifest(reference.tag, data, str(jsontext.loads(data)["mediaType"]))
    if purge:
        drop(store, name)
    return digest


def _bring(store: Store, reference: Reference, repository: Repository, entry: dict[str, Any], access: Access, progress: Any) -> None:
    from wherry.engine.transfer_push import send_image

    try:
        repository.head(entry["digest"])
        return
    except Missing:
        pass
    if entry["image"]:
        row = images.find(store.db, entry["image"])
        if row.manifest_digest != entry["digest"]:
            raise NotFound(f"the image {entry['source']} has changed since it was added", hint="add it again")
        send_image(store, reference, row, repository, progress)
        return
    source = references.parse(entry["source"])
    with access.repository(endpoints.load().pull_from(source, access.tls_verify)[-1]) as origin:
        manifest = origin.manifest(entry["digest"], entry["source"])
        if isinstance(manifest, manifests.Index):
            raise RegistryError(f"{entry['source']} is an index of indexes")
        for descriptor in (manifest.config, *manifest.layers):
            _copy_blob(store, origin, repository, descriptor, source.path if source.domain == reference.domain else "")
    repository.put_manifest(entry["digest"], manifest.data, manifest.media_type)
    progress("", f"Pushed ref {reference.repository}@{entry['digest']} with digest: {entry['digest']}", 0, 0)


def _copy_blob(store: Store, origin: Repository, repository: Repository, descriptor: manifests.Descriptor, mount_from: str) -> None:
    """From one repository into another one: mounted where that is possible, else through this store."""
    from wherry.registry.download import BlobStream
    from wherry.registry.upload import mount, upload

    if repository.has_blob(descriptor.digest) or mount_from and mount(repository, descriptor.digest, mount_from):
        return
    with BlobStream(store, origin, descriptor) as stream:
        while stream.read():
            continue
    blobs.keep(store, descriptor.digest)
    fd = os.open(blobs.path(store, descriptor.digest), os.O_RDONLY | os.O_CLOEXEC)
    try:
        upload(repository, descriptor.digest, fd, descriptor.size, mount_from=(), sent=_quiet)
    finally:
        os.close(fd)


def _quiet(_count: int) -> None:
    return
