"""`Engine.secrets`: what containers are given and nobody else is told."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.engine import Engine


class Secrets:
    """The secrets of a store. Nothing here tells the data of one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, name: str, data: bytes, *, labels: dict[str, str] | None = None, replace: bool = False) -> str:
        """Keep a secret; its id. Raises Conflict, InvalidArgument."""
        return self._engine.secrets.create(name, data, labels=labels, replace=replace)

    def exists(self, name: str) -> bool:
        return self._engine.secrets.exists(name)

    def remove(self, name: str) -> None:
        """Containers that were created with it keep their copies. Raises NotFound."""
        for _name, error in self._engine.secrets.remove_many([name]):
            if error is not None:
                raise error

    def list(self) -> builtins.list[str]:
        """Names."""
        return [row.name for row in self._engine.secrets.list()]
