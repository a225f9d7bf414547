"""The Python API: what `import wherry` shows. Objects over the engine's use cases, with docker-py's names where its users expect them.

A new kind of thing (volumes, networks) gets a module here with a collection and an object, like `images`, and a property of `Engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wherry.engine import Engine as _Engine

if TYPE_CHECKING:
    from wherry.client.containers import Containers
    from wherry.client.images import Images
    from wherry.client.networks import Networks
    from wherry.client.secrets import Secrets
    from wherry.client.system import System
    from wherry.client.volumes import Volumes


class Engine:
    """An open store, and everything that can be done with it. A context manager; not for several threads at once.

        with wherry.Engine() as engine:
            print(engine.containers.run("alpine", ["echo", "hi"], remove=True))

    `root` and `runroot` default to the user's own, as for the command. `on_warning` gets a sentence for every limit or isolation that
    is not in force, `on_progress` what a pull or a push does: layer, status, bytes there, bytes in all. Nothing is opened or made
    before it is needed. Raises StoreError (at the first use) where the store can't be opened.
    """

    def __init__(
        self,
        root: str | None = None,
        runroot: str | None = None,
        *,
        on_warning: Callable[[str], None] | None = None,
        on_progress: Callable[[str, str, int, int], None] | None = None,
    ) -> None:
        self._engine = _Engine(root, runroot, on_warning=on_warning)
        self._engine.progress = on_progress

    @property
    def containers(self) -> Containers:
        """The containers: run, create, get, list, prune."""
        from wherry.client.containers import Containers

        return Containers(self._engine)

    @property
    def images(self) -> Images:
        """The images: get, list, pull, push, load, save, build, tag, remove, prune."""
        from wherry.client.images import Images

        return Images(self._engine)

    @property
    def secrets(self) -> Secrets:
        """The secrets: create, exists, list, remove."""
        from wherry.client.secrets import Secrets

        return Secrets(self._engine)

    @property
    def volumes(self) -> Volumes:
        """The volumes: create, get, list, prune."""
        from wherry.client.volumes import Volumes

        return Volumes(self._engine)

    @property
    def networks(self) -> Networks:
        """The networks: create, get, list, prune."""
        from wherry.client.networks import Networks

        return Networks(self._engine)

    def events(
        self,
        *,
        since_ns: int | None = None,
        until_ns: int | None = None,
        follow: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """What has happened in the store, docker's documents, the oldest first; `follow` waits for more. Times are since the epoch."""
        wanted = {key: list(values) for key, values in (filters or {}).items()}
        return self._engine.system.events(since_ns=since_ns, until_ns=until_ns, follow=follow, filters=wanted)

    @property
    def system(self) -> System:
        """The store and the host: version, info, df, prune, check."""
        from wherry.client.system import System

        return System(self._engine)

    def close(self) -> None:
        """Close the store; it opens again when it is used again. Containers go on."""
        self._engine.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
