"""`pull`: from a name to an image in the store. Layers side by side; each is fetched, decompressed, hashed and unpacked in one stream."""

from __future__ import annotations

import threading

from wherry.archive import imageconfig, streams
from wherry.engine.image_in import commit, single
from wherry.engine.transfer import Access, short, silent
from wherry.engine.transfer_jobs import at_once
from wherry.errors import AccessDenied, ArchiveError, InvalidArgument, NotFound, RegistryError
from wherry.kernel import userns
from wherry.model import platform as platforms
from wherry.model import reference as references
from wherry.model.record import Record
from wherry.registry import endpoints, manifests, policy
from wherry.registry.client import Missing
from wherry.registry.download import BlobStream
from wherry.store import blobs, images, layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.engine.transfer import Progress
    from wherry.model.platform import Platform
    from wherry.model.reference import Reference
    from wherry.registry.client import Repository
    from wherry.registry.manifests import Descriptor, Index, Manifest
    from wherry.store import Store
    from wherry.store.layers import StagedLayer

DOWNLOADS = 3


class Pulled(Record):
    """What a pull gave: the image's id, the digest that its tag stands for there, whether anything is new here."""

    name: str
    id: str
    digest: str
    new: bool


class Wishes(Record):
    """`platform`: "" for this machine's own. `downloads`: layers at once."""

    platform: str = ""
    downloads: int = DOWNLOADS
    access: Access = Access()


def pull(store: Store, name: str, wishes: Wishes, progress: Progress | None = None) -> Pulled:
    """Fetch an image and give it its name. Raises NotFound, AccessDenied, RegistryError, ArchiveError, StoreFull."""
    settings = endpoints.load()
    typed = references.parse(name)
    reference = typed.tagged()
    alias = settings.alias(name.partition("@")[0].partition(":")[0]) if "/" not in name else ""
    if alias:
        reference = references.parse(alias).replace(tag=reference.tag, digest=reference.digest)
    policy.check(reference, wishes.access.policy)
    with blobs.InUse(store):
        found = _from_any(store, reference, settings, wishes, progress or silent)
    if alias:
        with store.db.transaction() as db:
            images.set_tag(db, typed.tagged().canonical, found.id)
    return found


def pull_all(store: Store, name: str, wishes: Wishes, progress: Progress | None = None) -> list[Pulled]:
    """Every tag of a repository."""
    reference = references.parse(name)
    if reference.tag or reference.digest:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    settings = endpoints.load()
    try:
        with wishes.access.repository(settings.pull_from(reference, wishes.access.tls_verify)[-1]) as repository:
            tags = sorted(repository.tags())
    except (Missing, AccessDenied) as error:
        raise _denied(reference, error) from error
    usable = [tag for tag in tags if references.is_tag(tag)]
    return [pull(store, reference.replace(tag=tag).canonical, wishes, progress) for tag in usable]


def _from_any(store: Store, reference: Reference, settings: endpoints.Settings, wishes: Wishes, progress: Progress) -> Pulled:
    """Mirrors are tried in turn; what one of them can't give, the next one may."""
    places = settings.pull_from(reference, wishes.access.tls_verify)
    for place in places:
        access = wishes.access.replace(creds="", retries=min(wishes.access.retries, 1)) if place.mirror else wishes.access
        try:
            with access.repository(place) as repository:
                return _Pull(store, reference, repository, wishes, progress).run()
        except (Missing, AccessDenied, RegistryError) as error:
            if place is places[-1]:
                raise _denied(reference, error) if isinstance(error, (Missing, AccessDenied)) else error
    raise AssertionError("there is always a last place")


def _denied(reference: Reference, error: Exception) -> Exception:
    """docker's words. The Hub says "denied" for repositories that aren't there, too."""
    if isinstance(error, AccessDenied) and "incorrect" not in error.message:
        return AccessDenied(
            f"pull access denied for {reference.familiar_repository}, repository does not exist or may require 'docker login': {error.message}",
            hint=f"log in with: wherry login {'' if reference.domain == 'docker.io' else reference.domain}".rstrip(),
        )
    if isinstance(error, Missing) and "name unknown" in error.message:
        return NotFound(f"manifest for {reference.familiar} not found: name unknown: repository name not known to registry")
    return error


class _Pull:
    def __init__(self, store: Store, reference: Reference, repository: Repository, wishes: Wishes, progress: Progress) -> None:
        self._store = store
        self._reference = reference
        self._repository = repository
        self._wishes = wishes
        self._progress = progress
        self._wanted: Platform = platforms.parse(wishes.platform) if wishes.platform else platforms.host()
        self._lock = threading.Lock()
        self._staged: list[StagedLayer] = []

    def run(self) -> Pulled:
        reference = self._reference
        what = reference.familiar
        top = self._repository.manifest(reference.digest or reference.tag, what)
        self._progress("", f"{reference.tag or reference.digest}: Pulling from {self._path()}", 0, 0)
        digest = top.digest
        entry = manifests.choose(top, self._wanted, what) if isinstance(top, manifests.Index) else None
        held = self._held(digest, entry.digest if entry else digest)
        if held is not None:
            return self._named(digest, held, False)
        manifest = self._image_of(top, what)
        try:
            return self._named(digest, self._fetch(manifest), True)
        except BaseException:
            for staged in self._staged:
                staged.drop()
            raise

    def _path(self) -> str:
        # docker shows the path at the registry: "library/alpine"
        return self._reference.path

    def _held(self, digest: str, manifest_digest: str) -> str | None:
        """The image that this digest brought here before, if it is the one that is wanted now (an index stands for several)."""
        row = self._store.db.row(
            "SELECT i.id, i.manifest_digest FROM tags t JOIN images i ON i.id = t.image_id WHERE t.name = ?", (self._digest_name(digest),)
        )
        return str(row[0]) if row is not None and manifest_digest in (digest if row[1] is None else row[1], row[0]) else None

    def _digest_name(self, digest: str) -> str:
        return self._reference.replace(tag="", digest=digest).canonical

    def _image_of(self, top: Manifest | Index, what: str) -> Manifest:
        for _ in range(3):
            if isinstance(top, manifests.Manifest):
                return top
            entry = manifests.choose(top, self._wanted, what)
            top = self._repository.manifest(entry.digest, what)
        raise RegistryError(f"the indexes of {what} are nested too deeply")

    def _fetch(self, manifest: Manifest) -> str:
        if images_with(self._store, manifest.config.digest):
            for descriptor in manifest.layers:
                self._progress(short(descriptor.digest), "Already exists", 0, 0)
            return manifest.config.digest
        config = self._repository.small_blob(manifest.config, manifests.CONFIG_LIMIT)
        document = imageconfig.parse(config)
        self._check_platform(document)
        diff_ids = imageconfig.diff_ids(document)
        if len(diff_ids) != len(manifest.layers):
            raise RegistryError(f"the manifest has {len(manifest.layers)} layers, its config says {len(diff_ids)}")
        if not manifest.layers:
            raise RegistryError(f"{self._reference.familiar} has no layers")
        wanted = self._layers(manifest.layers, diff_ids)
        with self._lock:
            self._staged = []
        try:
            for one in wanted:
                if isinstance(one, layers.StagedLayer):
                    blobs.keep(self._store, one.blob_digest)
            return commit(self._store, config, wanted, [], manifest.data)
        except BaseException:
            for staged in wanted:
                if isinstance(staged, layers.StagedLayer):
                    staged.drop()
            raise

    def _check_platform(self, document: dict[str, Any]) -> None:
        found = platforms.Platform(
            str(document.get("os") or "linux"),
            str(document.get("architecture") or self._wanted.architecture),
            str(document.get("variant") or ""),
        )
        if found.os != "linux":
            raise RegistryError(f'image operating system "{found.os}" cannot be used on this platform')
        if self._wishes.platform and (found.os, found.architecture) != (self._wanted.os, self._wanted.architecture):
            raise NotFound(
                f"image with reference {self._reference.familiar} was found but its platform ({found}) does not match the specified platform ({self._wanted})"
            )

    def _layers(self, descriptors: tuple[Descriptor, ...], diff_ids: list[str]) -> list[StagedLayer | int]:
        """A number for each layer that is here, a staged tree for the others. A layer that occurs twice is fetched once."""
        found: dict[str, StagedLayer | int] = {}
        missing: dict[str, Descriptor] = {}
        for descriptor, diff_id in zip(descriptors, diff_ids):
            number = layers.find(self._store, diff_id)
            if number is not None:
                found[diff_id] = number
                self._progress(short(descriptor.digest), "Already exists", 0, 0)
            elif diff_id not in missing:
                missing[diff_id] = descriptor
                self._progress(short(descriptor.digest), "Pulling fs layer", 0, 0)
        userns.enter_command()  # looked up once, before there are threads
        # The largest first: it decides when all are done.
        order = sorted(missing, key=lambda d: -missing[d].size)
        jobs = [self._job(missing[diff_id], diff_id) for diff_id in order]
        for diff_id, staged in zip(order, at_once(jobs, max(1, self._wishes.downloads)) if jobs else []):
            found[diff_id] = staged
        return [found[diff_id] for diff_id in diff_ids]

    def _job(self, descriptor: Descriptor, diff_id: str) -> Callable[[], StagedLayer]:
        return lambda: self._layer(descriptor, diff_id)

    def _layer(self, descriptor: Descriptor, diff_id: str) -> StagedLayer:
        name = short(descriptor.digest)

        def came(count: int) -> None:
            self._progress(name, "Downloading", count, descriptor.size)

        with BlobStream(self._store, self._repository, descriptor, came) as blob:
            tar = streams.Hashed(streams.plain(blob))

            def feed(fd: int) -> None:
                streams.copy_to_fd(tar, fd)

            try:
                path, entries, size = layers.stage(self._store, feed, single=single())
                try:
                    streams.drain(blob)
                    layers.checked(tar.digest, diff_id)
                except BaseException:
                    layers.StagedLayer(path, "", 0, 0).drop()
                    raise
            except ArchiveError:
                blob.reject()
                raise
        self._progress(name, "Download complete", descriptor.size, descriptor.size)
        staged = layers.StagedLayer(path, diff_id, size, entries, descriptor.digest, descriptor.media_type, descriptor.size, "", tar.size)
        with self._lock:
            self._staged.append(staged)
        self._progress(name, "Pull complete", descriptor.size, descriptor.size)
        return staged

    def _named(self, digest: str, image_id: str, fetched: bool) -> Pulled:
        """Give the image its tag and its digest as names."""
        reference = self._reference
        new = fetched
        with self._store.db.transaction() as db:
            if not images_with(self._store, image_id):
                raise NotFound(f"the image {reference.familiar} was removed while it was pulled")
            names = [self._digest_name(digest)]
            if reference.tag and not reference.digest:
                names.append(reference.canonical)
            for name in names:
                row = db.row("SELECT image_id FROM tags WHERE name = ?", (name,))
                if row is None or row[0] != image_id:
                    images.set_tag(db, name, image_id)
                    new = True
        shown = reference.familiar
        self._progress("", f"Digest: {digest}", 0, 0)
        self._progress("", f"Status: {'Downloaded newer image' if new else 'Image is up to date'} for {shown}", 0, 0)
        return Pulled(reference.canonical, image_id, digest, new)


def images_with(store: Store, image_id: str) -> bool:
    return store.db.row("SELECT 1 FROM images WHERE id = ?", (image_id,)) is not None
