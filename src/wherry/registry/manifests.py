"""Manifests and indexes of OCI and of docker's schema 2, read with suspicion: sizes, counts and digests before anything is fetched."""

from __future__ import annotations

from wherry.errors import RegistryError, Unsupported
from wherry.model import digest as digests
from wherry.model import jsontext
from wherry.model.platform import Platform
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_SCHEMA1 = ("application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws")
ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST))
INDEXES = (OCI_INDEX, DOCKER_LIST)

SIZE_LIMIT = 4 << 20
CONFIG_LIMIT = 16 << 20
# Of one image: overlayfs takes 500 lower layers.
LAYERS_LIMIT = 500
_ENTRIES_LIMIT = 2000


class Descriptor(Record):
    """What a manifest says of a blob (OCI image spec, descriptor). `urls` are never fetched from."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()


class Manifest(Record):
    """An image's manifest."""

    data: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def digest(self) -> str:
        return digests.of(self.data)


class Index(Record):
    """An index (manifest list)."""

    data: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]

    @property
    def digest(self) -> str:
        return digests.of(self.data)


def parse(data: bytes, media_type: str, what: str) -> Manifest | Index:
    """A document that a registry served for `what`. Raises RegistryError, Unsupported (schema 1)."""
    try:
        document = jsontext.loads(data)
    except ValueError as error:
        raise RegistryError(f"the manifest of {what} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RegistryError(f"the manifest of {what} is no JSON object")
    kind = str(document.get("mediaType") or media_type.partition(";")[0].strip())
    if document.get("schemaVersion") == 1 or kind in _SCHEMA1:
        raise Unsupported(
            f"{what} has a manifest of schema 1, an image format that docker has given up",
            hint="pull and push it with an older tool, or build it again; then it has a current one",
        )
    if document.get("schemaVersion") != 2:
        raise RegistryError(f"the manifest of {what} has the unknown schema version {document.get('schemaVersion')!r}")
    if kind in INDEXES or "manifests" in document and "layers" not in document:
        return Index(data, kind if kind in INDEXES else OCI_INDEX, _descriptors(document.get("manifests"), what, _ENTRIES_LIMIT))
    if not isinstance(document.get("config"), dict):
        raise RegistryError(f"the manifest of {what} names no config", hint="it is no image")
    config = _descriptor(document["config"], what)
    if config.media_type not in (OCI_CONFIG, DOCKER_CONFIG, "application/octet-stream", ""):
        raise Unsupported(f"{what} is no image but an artifact of type {document.get('artifactType') or config.media_type}")
    if config.size > CONFIG_LIMIT:
        raise RegistryError(f"the config of {what} would be larger than {CONFIG_LIMIT} bytes")
    layers = _descriptors(document.get("layers"), what, LAYERS_LIMIT)
    return Manifest(data, kind if kind == DOCKER_MANIFEST else OCI_MANIFEST, config, layers)


def _descriptors(given: Any, what: str, limit: int) -> tuple[Descriptor, ...]:
    if not isinstance(given, list):
        raise RegistryError(f"the manifest of {what} is malformed")
    if len(given) > limit:
        raise RegistryError(f"the manifest of {what} has {len(given)} entries; more than {limit} are refused")
    return tuple(_descriptor(d, what) for d in given)


def _descriptor(given: Any, what: str) -> Descriptor:
    if not isinstance(given, dict):
        raise RegistryError(f"the manifest of {what} has a malformed descriptor")
    digest, size = given.get("digest"), given.get("size")
    if not isinstance(digest, str) or not digests.is_digest(digest) or not digest.startswith("sha256:"):
        raise RegistryError(f"the manifest of {what} has a malformed digest or one of an unknown algorithm: {str(digest)[:80]!r}")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 50:
        raise RegistryError(f"the manifest of {what} has a malformed size: {str(size)[:40]!r}")
    notes = given.get("annotations") if isinstance(given.get("annotations"), dict) else {}
    return Descriptor(
        str(given.get("mediaType") or ""),
        digest,
        size,
        _platform(given.get("platform")),
        tuple((str(k), str(v)) for k, v in (notes or {}).items()),
    )


def _platform(given: Any) -> Platform | None:
    if not isinstance(given, dict) or not given.get("os"):
        return None
    architecture, variant = str(given.get("architecture") or ""), str(given.get("variant") or "")
    if architecture == "arm64" and variant == "v8":
        variant = ""
    return Platform(str(given["os"]), architecture, variant)


def choose(index: Index, wanted: Platform, what: str) -> Descriptor:
    """The entry for a platform: the nearest variant that it runs. Attestations are none. Raises RegistryError with docker's words."""
    best: Descriptor | None = None
    rank: tuple[bool, str] = (False, "")
    for entry in index.manifests:
        if ("vnd.docker.reference.type", "attestation-manifest") in entry.annotations or entry.platform is None:
            continue
        if not wanted.runs(entry.platform):
            continue
        own = (entry.platform.variant == wanted.variant, entry.platform.variant)
        if best is None or own > rank:
            best, rank = entry, own
    if best is None and len(index.manifests) == 1 and index.manifests[0].platform is None:
        best = index.manifests[0]
    if best is None:
        raise RegistryError(f"no matching manifest for {wanted} in the manifest list entries")
    return best


def compression_of(media_type: str) -> str:
    """ "gzip", "zstd" or "" by a layer's media type."""
    if media_type.endswith((".gzip", "+gzip")):
        return "gzip"
    return "zstd" if media_type.endswith("+zstd") else ""
