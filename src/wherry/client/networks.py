"""`Engine.networks` and `Network`."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wherry.client.container import Container
from wherry.client.containers import Filters, lists
from wherry.model.network import EndpointRequest, NetworkRequest

if TYPE_CHECKING:
    from wherry.engine import Engine


class Network:
    """A network. Every method may raise NotFound when it was removed meanwhile."""

    def __init__(self, engine: Engine, id: str, name: str) -> None:
        self._engine = engine
        self.id: str = id
        self.name: str = name

    def __repr__(self) -> str:
        return f"<Network: {self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def attrs(self) -> dict[str, Any]:
        """docker's document of it, as it is now."""
        return self._engine.networks.inspect(self.id)

    def connect(self, container: Container | str, *, aliases: Sequence[str] = (), ip: str = "") -> None:
        """Attach a container, running or not. Raises Conflict, NotFound."""
        name = container if isinstance(container, str) else container.id
        self._engine.networks.connect(self.id, name, EndpointRequest(network=self.id, aliases=tuple(aliases), ip=ip))

    def disconnect(self, container: Container | str, *, force: bool = False) -> None:
        """Detach a container. Raises NotFound, Conflict."""
        self._engine.networks.disconnect(self.id, container if isinstance(container, str) else container.id, force=force)

    def remove(self) -> None:
        """Remove it. Raises Conflict while a container is attached to it."""
        self._engine.networks.remove(self.id)


class Networks:
    """The networks of a store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self,
        name: str,
        *,
        driver: str = "bridge",
        subnet: str = "",
        gateway: str = "",
        internal: bool = False,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Network:
        """A new network. Raises Conflict (the name or the addresses are taken), InvalidArgument."""
        pool = {key: value for key, value in (("Subnet", subnet), ("Gateway", gateway)) if value}
        request = NetworkRequest(
            name=name,
            driver=driver,
            pools=(pool,) if pool else (),
            options=dict(options or {}),
            labels=dict(labels or {}),
            internal=internal,
        )
        return Network(self._engine, self._engine.networks.create(request), name)

    def get(self, name: str) -> Network:
        """The network of that name or id. Raises NotFound."""
        found = self._engine.networks.inspect(name)
        return Network(self._engine, str(found["Id"]), str(found["Name"]))

    def list(self, *, filters: Filters | None = None) -> builtins.list[Network]:
        """All of them. `filters` as `network ls` takes them."""
        return [Network(self._engine, summary.id, summary.name) for summary in self._engine.networks.list(lists(filters))]

    def prune(self, *, filters: Filters | None = None) -> builtins.list[str]:
        """Remove those that no container is attached to; their names."""
        return self._engine.networks.prune(lists(filters))
