"""Secrets in the store: a row for each, the data in secrets/<id>, 0600, and nowhere else but in the folders of containers that use it."""

from __future__ import annotations

import os
import time

from wherry.errors import Conflict, InvalidArgument, NotFound
from wherry.model import jsontext
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store
    from wherry.store.db import Database

# podman's and docker's limit.
MAX_BYTES = 512_000
_COLUMNS = "id, name, labels, created_ns, updated_ns"


class SecretRow(Record):
    id: str
    name: str
    labels_text: str
    created_ns: int
    updated_ns: int

    def labels(self) -> dict[str, str]:
        return jsontext.loads(self.labels_text)  # type: ignore[no-any-return]


def find(db: Database, name: str) -> SecretRow:
    """By name, whole id or a unique beginning of an id. Raises NotFound, InvalidArgument."""
    rows = db.rows(f"SELECT {_COLUMNS} FROM secrets WHERE name = ?1 OR id = ?1", (name,))
    if not rows and name and all(c in "0123456789abcdef" for c in name):
        rows = db.rows(f"SELECT {_COLUMNS} FROM secrets WHERE id >= ? AND id < ? LIMIT 2", (name, name + "g"))
    if not rows:
        raise NotFound(f"no such secret: {name}")
    if len(rows) > 1:
        raise InvalidArgument(f"several secrets have an id that begins with {name}")
    return SecretRow(*rows[0])


def everything(db: Database) -> list[SecretRow]:
    return [SecretRow(*row) for row in db.rows(f"SELECT {_COLUMNS} FROM secrets ORDER BY name")]


def create(store: Store, name: str, data: bytes, labels: dict[str, str], *, replace: bool) -> str:
    """Keep a secret; its id. The data are on the platter before the row is committed. Raises Conflict, InvalidArgument."""
    if not name or len(name) > 253 or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in name):
        raise InvalidArgument(f'secret name "{name}" is invalid: letters, digits, "-", "_" and "." are allowed, 253 at most')
    if not 0 < len(data) <= MAX_BYTES:
        raise InvalidArgument(f"secret data must be larger than 0 and less than {MAX_BYTES} bytes")
    secret_id = os.urandom(13).hex()[:25]
    now = time.time_ns()
    staged = store.staging("secret")
    write_private(staged, data)
    folder = store.path("secrets")
    os.makedirs(folder, 0o700, exist_ok=True)
    with store.db.transaction() as db:
        old = db.row("SELECT id FROM secrets WHERE name = ?", (name,))
        if old and not replace:
            os.unlink(staged)
            raise Conflict(f"secret name in use: {name}", hint="remove it, or use --replace")
        if old:
            db.execute("DELETE FROM secrets WHERE id = ?", (old[0],))
        db.execute(f"INSERT INTO secrets ({_COLUMNS}) VALUES (?,?,?,?,?)", (secret_id, name, jsontext.dumps(labels), now, now))
        os.rename(staged, f"{folder}/{secret_id}")
    if old:
        _unlink(f"{folder}/{old[0]}")
    return secret_id


def write_private(path: str, data: bytes) -> None:
    """A new file that only its owner may read, written through to the disk."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def data(store: Store, row: SecretRow) -> bytes:
    try:
        with open(store.path("secrets", row.id), "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise NotFound(f"secret {row.name} has lost its data", hint="create it again with --replace") from None


def remove(store: Store, name: str) -> SecretRow:
    """Containers that were created with it keep their copies. Raises NotFound."""
    row = find(store.db, name)
    with store.db.transaction() as db:
        db.execute("DELETE FROM secrets WHERE id = ?", (row.id,))
    _unlink(store.path("secrets", row.id))
    return row


def drop_unknown(store: Store) -> None:
    """Files without a row: of a command that was killed between the two."""
    try:
        names = os.listdir(store.path("secrets"))
    except FileNotFoundError:
        return
    with store.db.transaction() as db:
        known = {row.id for row in everything(db)}
        for name in names:
            if name not in known:
                _unlink(store.path("secrets", name))


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
