"""`Engine.secrets`, and how a container gets them.

At create the data are copied into the container's own folder, as podman does: what it was created with is what it has after a restart, and
removing or replacing a secret doesn't change a container that is there. They come on a tmpfs, or as variables of its first process."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, WherryError
from wherry.kernel import userns
from wherry.model import times
from wherry.store import secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.engine import Engine
    from wherry.model.secret import SecretSpec
    from wherry.store import Store


class Secrets:
    """What can be done with secrets. Nothing here tells their data."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, name: str, data: bytes, *, labels: dict[str, str] | None = None, replace: bool = False) -> str:
        """Keep a secret, 0600 in the store; its id. Raises Conflict, InvalidArgument."""
        self._engine.sweep()
        secrets.drop_unknown(self._engine.store)
        return secrets.create(self._engine.store, name, data, labels or {}, replace=replace)

    def exists(self, name: str) -> bool:
        try:
            secrets.find(self._engine.store.db, name)
        except WherryError:
            return False
        return True

    def inspect(self, name: str) -> dict[str, Any]:
        row = secrets.find(self._engine.store.db, name)
        return {
            "ID": row.id,
            "CreatedAt": times.format_ns(row.created_ns),
            "UpdatedAt": times.format_ns(row.updated_ns),
            "Spec": {"Name": row.name, "Driver": {"Name": "file", "Options": {}}, "Labels": row.labels()},
        }

    def remove_many(self, names: list[str], *, all: bool = False, ignore: bool = False) -> Iterator[tuple[str, WherryError | None]]:
        """(id or name, what went wrong) of each."""
        for name in [row.name for row in secrets.everything(self._engine.store.db)] if all else names:
            try:
                yield secrets.remove(self._engine.store, name).id, None
            except WherryError as error:
                if not (ignore and error.id == "not-found"):
                    yield name, error

    def list(self) -> list[secrets.SecretRow]:
        return secrets.everything(self._engine.store.db)


def keep(store: Store, container_id: str, specs: tuple[SecretSpec, ...]) -> list[dict[str, Any]]:
    """Copy the data into the folder of a container that is being created; what its record says of them. Raises NotFound."""
    folder = store.path("containers", container_id, "secrets")
    os.mkdir(folder, 0o700)
    found = []
    for number, spec in enumerate(specs):
        row = secrets.find(store.db, spec.source)
        secrets.write_private(f"{folder}/{number}", secrets.data(store, row))
        target = spec.target or row.name
        if spec.type == "env" and ("=" in target or "\0" in target):
            raise InvalidArgument(f"secret {row.name}: {target} is no name of a variable")
        found.append(
            {"ID": row.id, "Name": row.name, "Type": spec.type, "Target": target, "UID": spec.uid, "GID": spec.gid, "Mode": spec.mode}
        )
    return found


def check(store: Store, specs: tuple[SecretSpec, ...]) -> None:
    """Before anything is made. Raises NotFound."""
    for spec in specs:
        secrets.find(store.db, spec.source)


def for_launch(store: Store, container_id: str, kept: list[dict[str, Any]]) -> tuple[tuple[str, str, int, int, int], ...]:
    """(path, destination, uid, gid, mode) of the files that a container is given."""
    single = userns.current().mode == "single"
    found = []
    for number, secret in enumerate(kept):
        if secret["Type"] == "mount":
            target = secret["Target"]
            place = target if target.startswith("/") else "/run/secrets/" + target
            ids = (0, 0) if single else (secret["UID"], secret["GID"])
            found.append((store.path("containers", container_id, "secrets", str(number)), place, *ids, secret["Mode"]))
    return tuple(found)


def environment(store: Store, container_id: str, kept: list[dict[str, Any]]) -> list[str]:
    """NAME=data of the secrets that are variables."""
    found = []
    for number, secret in enumerate(kept):
        if secret["Type"] == "env":
            with open(store.path("containers", container_id, "secrets", str(number)), "rb") as file:
                found.append(secret["Target"] + "=" + os.fsdecode(file.read()))
    return found
