"""Events: <root>/events.log, a line of docker's JSON for each, appended by commands and monitors alike. docs/internals/events.md.

An event that can't be written (a full disk) is lost; it never makes what it tells of fail.
"""

from __future__ import annotations

import os
import time

from wherry.model import jsontext
from wherry.store import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.store import Store
    from wherry.store.containers import ContainerRow
    from wherry.store.db import Database

NAME = "events.log"
# Set aside beyond this size; so many older files are kept. native/events.c does the same.
LOG_BYTES = 1 << 20
KEPT = 2


def append(store: Store, kind: str, action: str, actor: str, attributes: dict[str, str], *, image: str = "") -> None:
    """Tell of `action` on `actor`, a `kind` of docker's (container, image, network, volume, builder, daemon)."""
    now = time.time_ns()
    event: dict[str, Any] = {}
    if kind == "container":
        event = {"status": action, "id": actor, "from": image}
    elif kind == "image":
        event = {"status": action, "id": actor}
    event |= {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": actor, "Attributes": attributes},
        "scope": "local",
        "time": now // 1_000_000_000,
        "timeNano": now,
    }
    _write(store.path(NAME), os.fsencode(jsontext.dumps(event)) + b"\n")


def container(store: Store, row: ContainerRow, action: str, **more: str) -> None:
    append(store, "container", action, row.id, attributes(row) | more, image=row.image_name)


def attributes(row: ContainerRow) -> dict[str, str]:
    """docker's: the labels, and over them image and name."""
    return row.labels() | {"image": row.image_name, "name": row.name}


def describe(store: Store, row: ContainerRow) -> None:
    """Leave for the monitor how its container is called in events."""
    text = jsontext.dumps(row.image_name) + "\n" + jsontext.dumps(attributes(row))[1:-1] + "\n"
    folder = store.path("containers", row.id)
    fd = os.open(folder + "/attrs.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, os.fsencode(text))
    finally:
        os.close(fd)
    os.rename(folder + "/attrs.new", folder + "/attrs")


def remove_row(store: Store, db: Database, container_id: str, *, volumes: bool = False) -> None:
    """Delete a container's row and tell of it; whoever comes second tells nothing."""
    row = db.row("SELECT image_name, name, labels FROM containers WHERE id = ?", (container_id,))
    if row is None:
        return
    containers.delete(db, container_id, volumes=volumes)
    append(store, "container", "destroy", container_id, jsontext.loads(row[2]) | {"image": row[0], "name": row[1]}, image=row[0])


def _write(path: str, line: bytes) -> None:
    try:
        for again in (False, True):
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if not again and os.fstat(fd).st_size > LOG_BYTES:
                    _rotate(path, fd)
                    continue
                os.write(fd, line)
                return
            finally:
                os.close(fd)
    except OSError:
        return


def _rotate(path: str, fd: int) -> None:
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_ino != os.stat(path).st_ino:
            return
        for number in range(KEPT, 0, -1):
            older = f"{path}.{number - 1}" if number > 1 else path
            if os.path.exists(older):
                os.rename(older, f"{path}.{number}")
    except OSError:
        return


# -- reading ---------------------------------------------------------------------------------------------------------------


def kept(store: Store) -> Iterator[dict[str, Any]]:
    """All events that are still there, oldest first. What is no whole line of JSON is left out."""
    path = store.path(NAME)
    for name in (*(f"{path}.{number}" for number in range(KEPT, 0, -1)), path):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            yield from parsed(_all_of(fd))
        finally:
            os.close(fd)


def _all_of(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def parsed(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        if not line:
            continue
        try:
            event = jsontext.loads(os.fsdecode(line))
        except ValueError:
            continue
        if isinstance(event, dict) and "Actor" in event:
            yield event


class Follower:
    """What is appended from now on, through rotations. A context manager."""

    def __init__(self, store: Store) -> None:
        self._path = store.path(NAME)
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._rest = b""
        os.lseek(self._fd, 0, os.SEEK_END)

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)

    def more(self) -> Iterator[dict[str, Any]]:
        """Events since the last call; returns at once."""
        data = self._rest + _all_of(self._fd)
        try:
            if os.stat(self._path).st_ino != os.fstat(self._fd).st_ino:
                # Set aside: writers that had it open have written by the next call.
                data += _all_of(self._fd)
                fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                os.close(self._fd)
                self._fd = fd
                data += _all_of(fd)
        except FileNotFoundError:
            pass  # between two renames
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        yield from parsed(data[:end])
