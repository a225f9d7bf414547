"""Image archives: docker-archive and OCI layout, in a tar or a folder. Every name that comes out of one is looked up, never opened as a path.

A tar is read once from its beginning to its end into a catalogue of offsets (a pipe is spooled to a file first); members are
then read by offset, so the order of an archive doesn't matter and nothing is unpacked to disk.
"""

from __future__ import annotations

import os

from wherry.archive import tarindex
from wherry.archive.streams import Hashed, Peeked, copy_to_fd, plain
from wherry.errors import ArchiveError
from wherry.model import digest as digests
from wherry.model import jsontext
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.archive.streams import Readable
    from wherry.model.platform import Platform

MANIFEST_LIMIT = 4 << 20
CONFIG_LIMIT = 16 << 20


class Layer(Record):
    """A layer's blob in an archive: the name of its file, its digest when the archive gives one, its media type."""

    name: str
    digest: str = ""
    media_type: str = ""


class ImageInArchive(Record):
    """One image: its config (bytes as they are), its layers bottom first, the names it goes by, its manifest when it has one."""

    config: bytes
    layers: tuple[Layer, ...]
    names: tuple[str, ...] = ()
    manifest: bytes = b""
    manifest_media_type: str = ""


class Folder:
    """An archive that lies unpacked in a folder. Links in it are not followed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._open: list[Any] = []

    def names(self) -> set[str]:
        found: set[str] = set()
        for folder, _folders, files in os.walk(self._path):
            inside = os.path.relpath(folder, self._path)
            found.update(name if inside == "." else f"{inside}/{name}" for name in files)
        return found

    def open(self, name: str) -> Readable:
        if ".." in name.split("/") or name.startswith("/"):
            raise ArchiveError(f"the archive names a file outside itself: {name}")
        path = f"{self._path}/{name}"
        try:
            if os.path.realpath(path) != f"{os.path.realpath(self._path)}/{name}":
                raise ArchiveError(f"the archive's {name} is a link")
            self._open.append(open(path, "rb"))
            return self._open[-1]  # type: ignore[no-any-return]
        except OSError as error:
            raise ArchiveError(f"the archive's {name} can't be read: {os.strerror(error.errno or 0)}") from error

    def close(self) -> None:
        for file in self._open:
            file.close()


class Tar:
    """An archive in a seekable, uncompressed tar file."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._members = tarindex.read(file)

    def names(self) -> set[str]:
        return {name for name, member in self._members.items() if member.kind != "other"}

    def open(self, name: str) -> Readable:
        name = tarindex.plain_name(name)
        member = self._members.get(name)
        # Old `docker save` wrote a layer that two images share once, and links to it after that.
        for _ in range(8):
            if member is None or member.kind not in ("hard", "symbolic"):
                break
            target = member.target
            if member.kind == "symbolic":
                target = os.path.normpath(os.path.join(os.path.dirname(name), target))
            name = tarindex.plain_name(target)
            member = self._members.get(name)
        if member is None or member.kind != "file":
            raise ArchiveError(f"the archive has no file {name}")
        return _Part(self._file, member.start, member.size)

    def close(self) -> None:
        self._file.close()


class _Part:
    """A piece of a file."""

    def __init__(self, file: Any, start: int, size: int) -> None:
        self._file, self._at, self._left = file, start, size

    def read(self, size: int = -1) -> bytes:
        most = self._left if size < 0 else min(size, self._left)
        if most == 0:
            return b""
        self._file.seek(self._at)
        data: bytes = self._file.read(most)
        if not data:
            raise ArchiveError("the archive is cut short")
        self._at += len(data)
        self._left -= len(data)
        return data


def open_archive(source: str | int, spool: str) -> Folder | Tar:
    """An archive by path (a file or a folder) or descriptor. What can't be read by offset is spooled to the file `spool`.

    Raises ArchiveError.
    """
    if isinstance(source, str) and os.path.isdir(source):
        return Folder(source)
    try:
        file = open(source, "rb", closefd=isinstance(source, str))
    except OSError as error:
        raise ArchiveError(f"open {source}: {os.strerror(error.errno or 0).lower()}") from error
    peeked = Peeked(file)
    head = peeked.peek(6)
    if not head:
        raise ArchiveError("the archive is empty")
    stream = plain(peeked)
    if stream is peeked and isinstance(source, str) and file.seekable():
        return Tar(file)
    fd = os.open(spool, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # Open without a name from here on: a crash leaves nothing.
        os.unlink(spool)
        copy_to_fd(stream, fd)
        if isinstance(source, str):
            file.close()
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    spooled = os.fdopen(fd, "rb")
    try:
        return Tar(spooled)
    except BaseException:
        spooled.close()
        raise


def images(archive: Folder | Tar, platform: Platform) -> list[ImageInArchive]:
    """All images of an archive, of either form. Raises ArchiveError."""
    names = archive.names()
    if "manifest.json" in names:
        return _docker_images(archive)
    if "index.json" in names:
        return _oci_images(archive, platform)
    raise ArchiveError("the archive is neither docker's (no manifest.json) nor an OCI layout (no index.json)")


def _read(archive: Folder | Tar, name: str, limit: int) -> bytes:
    file = archive.open(name)
    data = bytearray()
    while len(data) <= limit and (part := file.read(limit + 1 - len(data))):
        data += part
    if len(data) > limit:
        raise ArchiveError(f"the archive's {name} is larger than {limit} bytes")
    return bytes(data)


def _json(data: bytes, what: str, kind: type) -> Any:
    try:
        value = jsontext.loads(data)
    except ValueError as error:
        raise ArchiveError(f"{what} is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise ArchiveError(f"{what} is not {'an object' if kind is dict else 'a list'}")
    return value


def _docker_images(archive: Folder | Tar) -> list[ImageInArchive]:
    found = []
    for entry in _json(_read(archive, "manifest.json", MANIFEST_LIMIT), "manifest.json", list):
        try:
            config_name, layers, tags = entry["Config"], entry["Layers"] or [], entry.get("RepoTags") or []
        except (KeyError, TypeError, AttributeError) as error:
            raise ArchiveError(f"manifest.json is malformed: {error}") from error
        if not isinstance(config_name, str) or not _are_texts(layers) or not _are_texts(tags):
            raise ArchiveError("manifest.json is malformed: its names are not strings")
        config = _read(archive, config_name, CONFIG_LIMIT)
        stem = config_name.rsplit("/", 1)[-1].removesuffix(".json")
        if len(stem) == 64 and digests.is_digest("sha256:" + stem) and digests.of(config) != "sha256:" + stem:
            raise ArchiveError(f"the config {config_name} has another digest than its name")
        found.append(ImageInArchive(config, tuple(Layer(name) for name in layers), tuple(tags)))
    return found


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_NAME_NOTES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


def _oci_images(archive: Folder | Tar, platform: Platform) -> list[ImageInArchive]:
    index = _json(_read(archive, "index.json", MANIFEST_LIMIT), "index.json", dict)
    found = []
    for descriptor in _descriptors(index, "manifests"):
        image = _oci_image(archive, descriptor, platform, 0)
        if image is not None:
            found.append(image.replace(names=_names_of(descriptor)))
    if not found:
        raise ArchiveError(f"the archive has no image for {platform}")
    return found


def _names_of(descriptor: dict[str, Any]) -> tuple[str, ...]:
    notes = _object(descriptor, "annotations")
    for key in _NAME_NOTES:
        name = notes.get(key)
        # A bare tag, as the layout specification has it, names no repository.
        if isinstance(name, str) and ("/" in name or ":" in name):
            return (name,)
    return ()


def _oci_image(archive: Folder | Tar, descriptor: dict[str, Any], platform: Platform, depth: int) -> ImageInArchive | None:
    from wherry.model.platform import Platform

    if depth > 4:
        raise ArchiveError("the archive's indexes are nested too deeply")
    wanted = _object(descriptor, "platform")
    if wanted.get("os") and not platform.runs(
        Platform(str(wanted["os"]), str(wanted.get("architecture", "")), str(wanted.get("variant", "") or ""))
    ):
        return None
    data = _blob(archive, descriptor, MANIFEST_LIMIT)
    document = _json(data, f"the blob {descriptor.get('digest')}", dict)
    if document.get("mediaType", descriptor.get("mediaType")) in _INDEX_TYPES or "manifests" in document:
        for inner in _descriptors(document, "manifests"):
            image = _oci_image(archive, inner, platform, depth + 1)
            if image is not None:
                return image
        return None
    if "config" not in document or "layers" not in document:
        raise ArchiveError(f"the manifest {descriptor.get('digest')} names no config and layers")
    config = _blob(archive, _object(document, "config"), CONFIG_LIMIT)
    layers = tuple(Layer(_blob_name(d), str(d["digest"]), str(d.get("mediaType", ""))) for d in _descriptors(document, "layers"))
    return ImageInArchive(config, layers, (), data, str(document.get("mediaType") or descriptor.get("mediaType") or ""))


def _object(owner: dict[str, Any], key: str) -> dict[str, Any]:
    value = owner.get(key) or {}
    if not isinstance(value, dict):
        raise ArchiveError(f"the archive's manifests are malformed: {key} is not an object")
    return value


def _descriptors(owner: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = owner.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ArchiveError(f"the archive's manifests are malformed: {key} is not a list of descriptors")
    return found


def _blob_name(descriptor: dict[str, Any]) -> str:
    digest = str(descriptor.get("digest", ""))
    if not digests.is_digest(digest):
        raise ArchiveError(f"the archive has a malformed digest: {digest!r}")
    return "blobs/" + digest.replace(":", "/")


def _blob(archive: Folder | Tar, descriptor: dict[str, Any], limit: int) -> bytes:
    data = _read(archive, _blob_name(descriptor), limit)
    if str(descriptor["digest"]).startswith("sha256:") and digests.of(data) != descriptor["digest"]:
        raise ArchiveError(f"the blob {descriptor['digest']} has another digest")
    return data


def layer_stream(archive: Folder | Tar, layer: Layer) -> tuple[Hashed, Hashed]:
    """(the blob as it is, its tar): read the second to its end, and both know their digest and size."""
    raw = Hashed(archive.open(layer.name))
    return raw, Hashed(plain(raw))
