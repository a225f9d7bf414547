"""Images in the database: rows, names, look-up by docker's rule, blobs of configs and manifests."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, NotFound
from wherry.model import digest as digests
from wherry.model import jsontext, reference
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.store import Store
    from wherry.store.db import Database

_HEX = frozenset("0123456789abcdef")


class ImageRow(Record):
    """An image as the database holds it. `config_text` is the JSON object "config" of its config blob."""

    id: str
    manifest_digest: str | None
    os: str
    architecture: str
    variant: str
    created_ns: int
    size_bytes: int
    config_text: str
    parent_id: str | None
    stored_ns: int

    def config(self) -> dict[str, Any]:
        return jsontext.loads(self.config_text)  # type: ignore[no-any-return]


_COLUMNS = "id, manifest_digest, os, architecture, variant, created_ns, size_bytes, config, parent_id, stored_ns"


def find(db: Database, name: str) -> ImageRow:
    """The image that `name` means: a full id, a name, or a unique beginning of an id. Raises NotFound with docker's words."""
    found = _by_id(db, name) or _by_name(db, name) or _by_prefix(db, name)
    if found is None:
        raise NotFound(_no_such(name))
    return found


def _no_such(name: str) -> str:
    try:
        ref = reference.parse(name)
    except InvalidArgument:
        return f"No such image: {name}"
    return f"No such image: {ref.tagged().familiar}"


def _row(db: Database, image_id: str) -> ImageRow | None:
    row = db.row(f"SELECT {_COLUMNS} FROM images WHERE id = ?", (image_id,))
    return None if row is None else ImageRow(*row)


def _by_id(db: Database, name: str) -> ImageRow | None:
    if name.startswith("sha256:"):
        return _row(db, name) or _by_prefix(db, name[7:])
    return _row(db, "sha256:" + name) if len(name) == 64 and _HEX.issuperset(name) else None


def _by_name(db: Database, name: str) -> ImageRow | None:
    try:
        ref = reference.parse(name).tagged()
    except InvalidArgument:
        return None
    if ref.digest:
        # A digest decides; a tag beside it is decoration.
        ref = ref.replace(tag="")
    row = db.row(
        f"SELECT {', '.join('i.' + c for c in _COLUMNS.split(', '))} FROM tags t JOIN images i ON i.id = t.image_id WHERE t.name = ?",
        (ref.canonical,),
    )
    return None if row is None else ImageRow(*row)


def _by_prefix(db: Database, name: str) -> ImageRow | None:
    if not name or not _HEX.issuperset(name):
        return None
    start = "sha256:" + name
    rows = db.rows(f"SELECT {_COLUMNS} FROM images WHERE id >= ? AND id < ? LIMIT 2", (start, start + "g"))
    if len(rows) > 1:
        raise InvalidArgument(f"multiple IDs found with provided prefix: {name}")
    return ImageRow(*rows[0]) if rows else None


def everything(db: Database) -> list[ImageRow]:
    return [ImageRow(*row) for row in db.rows(f"SELECT {_COLUMNS} FROM images ORDER BY created_ns DESC, id")]


def layer_numbers(db: Database, image_id: str) -> list[int]:
    """Topmost first, as overlayfs wants them."""
    return [int(n) for (n,) in db.rows("SELECT layer_id FROM image_layers WHERE image_id = ? ORDER BY position DESC", (image_id,))]


def names_of(db: Database, image_id: str) -> list[str]:
    """Canonical names, tags and digests."""
    return [str(n) for (n,) in db.rows("SELECT name FROM tags WHERE image_id = ? ORDER BY name", (image_id,))]


def all_names(db: Database) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, image_id in db.rows("SELECT name, image_id FROM tags ORDER BY name"):
        found.setdefault(image_id, []).append(name)
    return found


def insert(db: Database, row: ImageRow, layers: list[int]) -> None:
    """Add an image (nothing happens if it is there already). `layers` bottom first."""
    if db.row("SELECT 1 FROM images WHERE id = ?", (row.id,)):
        return
    db.execute(f"INSERT INTO images ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", row._values())
    db.executemany(
        "INSERT INTO image_layers (image_id, position, layer_id) VALUES (?,?,?)", [(row.id, i, number) for i, number in enumerate(layers)]
    )


def set_tag(db: Database, canonical: str, image_id: str) -> str | None:
    """Let a name mean this image; returns the id of the image it meant before, if another."""
    old = db.row("SELECT image_id FROM tags WHERE name = ?", (canonical,))
    db.execute(
        "INSERT INTO tags (name, image_id) VALUES (?,?) ON CONFLICT(name) DO UPDATE SET image_id = excluded.image_id", (canonical, image_id)
    )
    return str(old[0]) if old and old[0] != image_id else None


def drop_tag(db: Database, canonical: str) -> None:
    db.execute("DELETE FROM tags WHERE name = ?", (canonical,))


def delete(db: Database, image_id: str) -> None:
    db.execute("DELETE FROM images WHERE id = ?", (image_id,))


# -- blobs of configs and manifests ----------------------------------------------------------------------------------------


def blob_path(store: Store, digest: str) -> str:
    return store.path("blobs", *digest.split(":", 1))


def put_blob(store: Store, data: bytes) -> str:
    """Store bytes under their digest: staged, synced, renamed. Returns the digest."""
    digest = digests.of(data)
    path = blob_path(store, digest)
    if os.path.exists(path):
        return digest
    staged = store.staging("blob")
    fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(staged, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return digest


def read_blob(store: Store, digest: str) -> bytes:
    try:
        with open(blob_path(store, digest), "rb") as file:
            return file.read()
    except OSError as error:
        raise NotFound(f"the store has no blob {digest}: {os.strerror(error.errno or 0)}", hint="run `wherry system check`") from error


def drop_unused_blobs(store: Store, digests_gone: list[str]) -> None:
    """Remove the blobs of deleted images that no other image names."""
    for digest in digests_gone:
        if store.db.row("SELECT 1 FROM images WHERE id = ? OR manifest_digest = ?", (digest, digest)) is None:
            try:
                os.unlink(blob_path(store, digest))
            except FileNotFoundError:
                continue
