"""The manifest of an image that was built: made when its form is asked for (`--format`, `--annotation`, a compression), else by the first push."""

from __future__ import annotations

from wherry.engine import transfer_blobs
from wherry.engine.transfer import silent
from wherry.engine.transfer_push import manifest_of
from wherry.errors import InvalidArgument
from wherry.model import digest as digests
from wherry.model import jsontext
from wherry.registry import manifests
from wherry.store import blobs, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine.build_request import Shape
    from wherry.store import Store

_LEVELS = ("manifest", "index", "manifest-descriptor", "index-descriptor")


def notes_of(given: tuple[str, ...], level: str) -> dict[str, str]:
    """Those for one level: LEVEL,…[PLATFORM]:KEY=VALUE; without a level for the manifest. Raises InvalidArgument."""
    found: dict[str, str] = {}
    for text in given:
        levels, colon, rest = text.partition(":")
        kinds = [part.partition("[")[0] for part in levels.split(",")]
        if not colon or "=" in levels or any(kind not in _LEVELS for kind in kinds):
            kinds, rest = ["manifest"], text
        key, equals, value = rest.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"invalid annotation {text!r}: it is KEY=VALUE")
        if level in kinds:
            found[key] = value
    return found


def shape(store: Store, image_id: str, wanted: Shape) -> None:
    """Compress the layers as wanted and keep the manifest: a push or a save sends this one. Raises StoreError, InvalidArgument."""
    form = wanted.compression or "gzip"
    notes = notes_of(wanted.annotations, "manifest")
    kinds = {
        "docker": manifests.DOCKER_MANIFEST,
        "v2s2": manifests.DOCKER_MANIFEST,
        "oci": manifests.OCI_MANIFEST,
        "": manifests.OCI_MANIFEST,
    }
    if wanted.format not in kinds:
        raise InvalidArgument(f"unrecognized image type {wanted.format!r}: it is oci or docker")
    kind = kinds[wanted.format]
    if notes and kind == manifests.DOCKER_MANIFEST:
        raise InvalidArgument("docker's manifests have no annotations: use --format oci, or --label")
    with blobs.InUse(store):
        sources = transfer_blobs.sources(store, images.layer_numbers(store.db, image_id)[::-1])
        made = transfer_blobs.make(store, sources, form, wanted.level, silent, force=bool(wanted.compression) or wanted.force_compression)
        document = jsontext.loads(manifest_of(store, image_id, made, kind))
        if notes:
            document["annotations"] = notes
        data = jsontext.dumps(document).encode()
        images.put_blob(store, data)
        store.db.execute("UPDATE images SET manifest_digest = ? WHERE id = ?", (digests.of(data), image_id))
