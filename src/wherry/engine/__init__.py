"""The use cases: what the command line and programs ask for. One `Engine` is one open store.

    Engine.containers   create, run, start, stop, exec, logs, …
    Engine.images       import, load, list, remove, …
    Engine.volumes      create, list, inspect, remove, …
    Engine.networks     create, list, inspect, connect, …
    Engine.secrets      create, inspect, remove, …
    Engine.build        build, cache usage, prune
    Engine.system       info, df, prune, check

Parts are loaded when they are first used: a command pays only for what it needs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.engine.build import Builds
    from wherry.engine.containers import Containers
    from wherry.engine.images import Images
    from wherry.engine.networks import Networks
    from wherry.engine.secrets import Secrets
    from wherry.engine.system import System
    from wherry.engine.transfer import Progress
    from wherry.engine.volumes import Volumes
    from wherry.store import Store


class Engine:
    """An open store and what can be done with it.

    `root` and `runroot` default to the user's own. `on_warning` gets a line for every limit or isolation that is not in
    force. `debug` gets a line for each operation of a launch plan.
    """

    def __init__(
        self,
        root: str | None = None,
        runroot: str | None = None,
        *,
        on_warning: Callable[[str], None] | None = None,
        debug: Callable[[str], None] | None = None,
    ) -> None:
        self._root = root
        self._runroot = runroot
        self.warn: Callable[[str], None] = on_warning or _ignore
        self.debug = debug
        # Told of an image that a container needs and that is fetched for it; see engine/transfer.py.
        self.progress: Progress | None = None
        self._store: Store | None = None
        self._containers: Containers | None = None
        self._images: Images | None = None
        self._system: System | None = None
        self._build: Builds | None = None
        self._volumes: Volumes | None = None
        self._networks: Networks | None = None
        self._secrets: Secrets | None = None

    @property
    def store(self) -> Store:
        """The store, opened and made when it is missing."""
        if self._store is None:
            from wherry.store import Store

            self._store = Store(self._root, self._runroot)
        return self._store

    @property
    def containers(self) -> Containers:
        if self._containers is None:
            from wherry.engine.containers import Containers

            self._containers = Containers(self)
        return self._containers

    @property
    def images(self) -> Images:
        if self._images is None:
            from wherry.engine.images import Images

            self._images = Images(self.store)
        return self._images

    @property
    def volumes(self) -> Volumes:
        if self._volumes is None:
            from wherry.engine.volumes import Volumes

            self._volumes = Volumes(self)
        return self._volumes

    @property
    def secrets(self) -> Secrets:
        if self._secrets is None:
            from wherry.engine.secrets import Secrets

            self._secrets = Secrets(self)
        return self._secrets

    @property
    def build(self) -> Builds:
        if self._build is None:
            from wherry.engine.build import Builds

            self._build = Builds(self)
        return self._build

    @property
    def networks(self) -> Networks:
        if self._networks is None:
            from wherry.engine.networks import Networks

            self._networks = Networks(self)
        return self._networks

    @property
    def system(self) -> System:
        if self._system is None:
            from wherry.engine.system import System

            self._system = System(self)
        return self._system

    def sweep(self) -> None:
        """Finish what killed processes left in the store and the run root."""
        from wherry.store import reserve
        from wherry.store.sweep import sweep

        sweep(self.store, _bury_networks)
        reserve.keep(self.store)

    def sweep_before_making_room(self) -> None:
        """The same, before what has to work on a full disk: the reserve is given back first."""
        from wherry.store import reserve
        from wherry.store.sweep import sweep

        reserve.use(self.store)
        sweep(self.store, _bury_networks)

    def close(self) -> None:
        """Close the database. Only programs that go on need it."""
        if self._store is not None and self._store._db is not None:
            self._store._db.close()
        self._store = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _bury_networks(store: Store) -> None:
    from wherry.engine.network_launch import bury

    bury(store)


def _ignore(_text: str) -> None:
    return
