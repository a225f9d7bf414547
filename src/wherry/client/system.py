"""`Engine.system`: the store and the host as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wherry.client.containers import Filters, lists

if TYPE_CHECKING:
    from wherry.engine import Engine


class System:
    """The store and the host as a whole."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def version(self) -> dict[str, Any]:
        """docker's `version` document."""
        return self._engine.system.version()

    def info(self) -> dict[str, Any]:
        """docker's `info` document; under "Wherry" what this host allows, and where each setting comes from."""
        return self._engine.system.info()

    def df(self) -> dict[str, Any]:
        """Counts and bytes of images, containers, volumes and the build cache, and what can be had back."""
        return self._engine.system.df()

    def prune(self, *, all: bool = False, filters: Filters | None = None) -> dict[str, Any]:
        """Remove stopped containers and images without a name (`all`: every unused one)."""
        return self._engine.system.prune(all=all, filters=lists(filters))

    def check(self, *, repair: bool = False) -> list[str]:
        """What is wrong with the store, a sentence each; with `repair` it is mended."""
        return [str(finding) for finding in self._engine.system.check(repair)]
