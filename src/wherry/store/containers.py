"""Containers in the database: rows, look-up by docker's rule, names."""

from __future__ import annotations

from wherry.errors import Conflict, InvalidArgument, NotFound
from wherry.model import jsontext
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.store.db import Database

_COLUMNS = "id, name, image_id, image_name, layers, command, labels, created_ns, auto_remove, wanted"


class ContainerRow(Record):
    """A container as the database holds it.

    `layers` are numbers of the lower trees, topmost first. `command` is docker's COMMAND text, not shortened. `labels` and
    `record_text` are JSON; `record()` decodes the latter: {"Config": …, "HostConfig": …, "Mounts": […], …}.
    """

    id: str
    name: str
    image_id: str
    image_name: str
    layers: str
    command: str
    labels_text: str
    created_ns: int
    auto_remove: bool
    wanted: str
    record_text: str = ""

    def record(self) -> dict[str, Any]:
        return jsontext.loads(self.record_text)  # type: ignore[no-any-return]

    def labels(self) -> dict[str, str]:
        return jsontext.loads(self.labels_text)  # type: ignore[no-any-return]

    def layer_numbers(self) -> list[int]:
        return [int(n) for n in self.layers.split(",") if n]


def find(db: Database, name: str) -> ContainerRow:
    """The container that `name` means: full id, then exact name (a leading / is dropped), then a unique prefix of an id.

    The rule is docker's. Raises NotFound, InvalidArgument (several ids have the prefix).
    """
    select = f"SELECT {_COLUMNS}, record FROM containers WHERE "
    plain = name[1:] if name.startswith("/") else name
    rows = db.rows(select + "id = ?", (name,)) or db.rows(select + "name = ?", (plain,))
    if not rows and name and _is_hex(name):
        rows = db.rows(select + "id >= ? AND id < ? LIMIT 2", (name, name + "g"))
    if not rows:
        raise NotFound(f"No such container: {name}")
    if len(rows) > 1:
        raise InvalidArgument(f"multiple IDs found with provided prefix: {name}")
    return ContainerRow(*rows[0])


def _is_hex(text: str) -> bool:
    return len(text) <= 64 and all(c in "0123456789abcdef" for c in text)


def everything(db: Database, *, with_record: bool = False) -> list[ContainerRow]:
    """All containers, newest first."""
    columns = _COLUMNS + (", record" if with_record else "")
    return [ContainerRow(*row) for row in db.rows(f"SELECT {columns} FROM containers ORDER BY created_ns DESC, id")]


def insert(db: Database, row: ContainerRow) -> None:
    """Add a container. Raises Conflict with docker's words when the name is taken, NotFound when a layer is gone."""
    taken = db.row("SELECT id FROM containers WHERE name = ?", (row.name,))
    if taken:
        raise Conflict(
            f'Conflict. The container name "/{row.name}" is already in use by container "{taken[0]}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )
    for number in row.layer_numbers():
        if not db.row("SELECT 1 FROM layers WHERE id = ?", (number,)):
            raise NotFound(f"No such image: {row.image_name}")
    db.execute(
        f"INSERT INTO containers ({_COLUMNS}, record) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        (
            row.id,
            row.name,
            row.image_id,
            row.image_name,
            row.layers,
            row.command,
            row.labels_text,
            row.created_ns,
            int(row.auto_remove),
            row.wanted,
            row.record_text,
        ),
    )


def name_taken(db: Database, name: str) -> bool:
    return db.row("SELECT 1 FROM containers WHERE name = ?", (name,)) is not None


def set_wanted(db: Database, container_id: str, wanted: str) -> None:
    db.execute("UPDATE containers SET wanted = ? WHERE id = ?", (wanted, container_id))


def set_record(db: Database, container_id: str, record: dict[str, Any]) -> None:
    db.execute("UPDATE containers SET record = ? WHERE id = ?", (jsontext.dumps(record), container_id))


def rename(db: Database, container_id: str, new: str) -> None:
    taken = db.row("SELECT id FROM containers WHERE name = ?", (new,))
    if taken:
        raise Conflict(
            f'Conflict. The container name "/{new}" is already in use by container "{taken[0]}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )
    db.execute("UPDATE containers SET name = ? WHERE id = ?", (new, container_id))


def delete(db: Database, container_id: str, *, volumes: bool = False) -> None:
    """Delete a container's row. The anonymous volumes that were made for it are doomed with it if it is a `--rm` one, or with `volumes`,
    unless another container uses them; the sweep removes them (store/volumes.py)."""
    db.execute(
        "UPDATE volumes SET doomed = 1 WHERE name IN (SELECT u.volume FROM volume_uses u JOIN containers c ON c.id = u.container_id"
        " WHERE u.container_id = ?1 AND u.owned AND (c.auto_remove OR ?2)) AND NOT EXISTS"
        " (SELECT 1 FROM volume_uses o WHERE o.volume = volumes.name AND o.container_id != ?1)",
        (container_id, int(volumes)),
    )
    db.execute("DELETE FROM containers WHERE id = ?", (container_id,))
