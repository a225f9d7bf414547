"""`Engine.networks`: create, list, inspect, remove, prune, connect, disconnect. docker's words and rules (moby, daemon/network.go)."""

from __future__ import annotations

import os
import time

from wherry.errors import Conflict, InvalidArgument, NotFound, Unsupported, WherryError
from wherry.model import addresses, jsontext, names, network
from wherry.model.network import NetworkRequest, NetworkSummary
from wherry.network import ipam, links, netlink
from wherry.store import networks
from wherry.store.networks import NetworkRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from builtins import list as List
    from collections.abc import Iterator
    from typing import Any

    from wherry.engine import Engine
    from wherry.model.network import EndpointRequest
    from wherry.store import Store


def ensure_predefined(store: Store) -> None:
    """bridge, host and none are there from the start: their rows are made when somebody asks for the first time."""
    if store.db.row("SELECT 1 FROM networks WHERE name = 'bridge'"):
        return
    with links.machine_lock() if not links.is_user() else links.Lock(store.run_path("networks.lock")), store.db.transaction() as db:
        if db.row("SELECT 1 FROM networks WHERE name = 'bridge'"):
            return
        network_id = names.new_id()
        options = {
            "com.docker.network.bridge.default_bridge": "true",
            network.ICC: "true",
            network.MASQUERADE: "true",
            network.HOST_BINDING: "0.0.0.0",
            network.NAME: links.bridge_name(store, network_id, "bridge"),
            network.MTU: "1500",
        }
        pool = ipam.with_gateway({"Subnet": ipam.free_pool(_taken(store)).shown})
        row = _row(NetworkRequest("bridge", options=options), network_id, options[network.NAME], [pool])
        networks.insert(db, row)
        if not links.is_user():
            # Before the lock goes: the next store on this machine must see the subnet as taken.
            links._bridge(row)
        for name, driver in (("host", "host"), ("none", "null")):
            networks.insert(db, _row(NetworkRequest(name, driver=driver), names.new_id(), "", []))


def _taken(store: Store) -> list[addresses.Subnet]:
    """Ranges that a new network must not have: the host's routes, the other networks', the host's name servers."""
    found = links.host_subnets()
    for row in networks.everything(store.db):
        found += [addresses.subnet(pool["Subnet"]) for pool in row.record()["IPAM"]["Config"]]
    return found


def _row(request: NetworkRequest, network_id: str, link: str, pools: list[dict[str, Any]]) -> NetworkRow:
    config = []
    for pool in pools:
        shown = {"Subnet": pool["Subnet"]}
        if pool.get("IPRange"):
            shown["IPRange"] = pool["IPRange"]
        if pool.get("Gateway"):
            shown["Gateway"] = pool["Gateway"]
        if pool.get("AuxiliaryAddresses"):
            shown["AuxiliaryAddresses"] = pool["AuxiliaryAddresses"]
        config.append(shown)
    record = {
        "EnableIPv4": request.ipv4,
        "EnableIPv6": request.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": dict(request.ipam_options) or ({} if request.driver == "bridge" else None),
            "Config": config,
        },
        "Internal": request.internal,
        "Attachable": request.attachable,
        "Options": dict(request.options),
        "Labels": dict(request.labels),
        "Chosen": bool(request.pools),
        "Dns": request.dns,
        "Servers": list(request.servers),
        "Routes": list(request.routes),
    }
    return NetworkRow(network_id, request.name, request.driver, link, time.time_ns(), jsontext.dumps(record))


class Networks:
    """What can be done with networks. Names are docker's: a name, an id, or the unique beginning of one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def _store(self) -> Store:
        ensure_predefined(self._engine.store)
        return self._engine.store

    def create(self, request: NetworkRequest) -> str:
        """Its id. Raises Conflict, InvalidArgument, Unsupported, HostError."""
        store = self._store
        self._engine.sweep()
        found = store.db.row("SELECT id FROM networks WHERE name = ?", (request.name,))
        if found:
            if request.ignore:
                return str(found[0])
            raise Conflict(f"network with name {request.name} already exists")
        request = _checked(request)
        network_id = names.new_id()
        link = _link(store, request, network_id)
        with links.machine_lock() if not links.is_user() else links.Lock(store.run_path("networks.lock")):
            with store.db.transaction() as db:
                row = _row(request, network_id, link, _pools(store, request))
                networks.insert(db, row)
            try:
                if request.driver == "bridge" and not links.is_user():
                    links._bridge(row)
            except WherryError:
                networks.delete(store.db, network_id)
                raise
        if request.driver == "bridge" and not links.is_user():
            try:
                links.bring_up(store, [row])
            except WherryError:
                networks.delete(store.db, network_id)
                netlink.delete_link(link)
                raise
        return network_id

    def list(self, filters: dict[str, list[str]] | None = None) -> list[NetworkSummary]:
        store = self._store
        found = []
        for row in networks.everything(store.db):
            record = row.record()
            summary = NetworkSummary(
                row.id,
                row.name,
                row.driver,
                "local",
                bool(record["EnableIPv6"]),
                bool(record["Internal"]),
                record["Labels"],
                row.created_ns,
            )
            if _chosen(store, summary, filters or {}):
                found.append(summary)
        return sorted(found, key=lambda s: s.name)

    def inspect(self, name: str) -> dict[str, Any]:
        """docker's document of a network. Raises NotFound."""
        from wherry.engine.network_view import document

        store = self._store
        networks.reclaim(store)
        return document(store, networks.find(store.db, name))

    def exists(self, name: str) -> bool:
        try:
            networks.find(self._store.db, name)
        except NotFound:
            return False
        return True

    def remove(self, name: str) -> None:
        """Raises NotFound, Conflict (in use), InvalidArgument (predefined)."""
        store = self._store
        row = networks.find(store.db, name)
        if row.name in network.PREDEFINED:
            raise InvalidArgument(f"{row.name} is a pre-defined network and cannot be removed", exit_code=1)
        self._remove(store, row)

    def _remove(self, store: Store, row: NetworkRow) -> None:
        networks.reclaim(store)
        with store.db.transaction() as db:
            users = networks.active(db, row.id)
            if users:
                shown = ", ".join(f'name:"{_name(store, user.container_id)}" id:"{user.container_id[:12]}"' for user in users)
                raise Conflict(f"error while removing network: network {row.name} has active endpoints ({shown})")
            networks.delete(db, row.id)
        if row.driver == "bridge" and links.is_user():
            from wherry.network import rootless

            rootless.take_down(store, row)
        elif row.driver == "bridge":
            links.take_down(store, row)
        names_file = store.run_path("net", "names", row.id)
        if os.path.exists(names_file):
            os.unlink(names_file)

    def remove_many(self, given: List[str], *, force: bool = False) -> Iterator[tuple[str, WherryError | None]]:
        for name in given:
            try:
                self.remove(name)
            except NotFound as error:
                yield name, None if force else error
            except WherryError as error:
                yield name, error
            else:
                yield name, None

    def prune(self, filters: dict[str, List[str]] | None = None) -> List[str]:
        """Remove the networks that no container, running or not, is attached to. Their names."""
        from wherry.engine import filtering

        store = self._store
        self._engine.sweep()
        chosen = filtering.for_prune(filters or {})
        done = []
        for row in networks.everything(store.db):
            record = row.record()
            if row.name in network.PREDEFINED or networks.endpoints(store.db, network_id=row.id):
                continue
            if chosen(row.created_ns, record["Labels"]):
                self._remove(store, row)
                done.append(row.name)
        return done

    def connect(self, name: str, container: str, request: EndpointRequest) -> None:
        """Attach a container, running or not, to one more network."""
        from wherry.engine.network_connect import connect

        connect(self._engine, networks.find(self._store.db, name), container, request)

    def disconnect(self, name: str, container: str, *, force: bool = False) -> None:
        from wherry.engine.network_connect import disconnect

        disconnect(self._engine, networks.find(self._store.db, name), container, force=force)

    def reload(self) -> None:
        """Put links and rules back: after a flush of the rules, a reload of a firewall."""
        store = self._store
        self._engine.sweep()
        networks.reclaim(store)
        if links.is_user():
            raise Unsupported("network reload: a user's networks have a namespace of their own, which nobody else changes")
        links.bring_up(store, [row for row in networks.everything(store.db) if row.driver == "bridge"])

    def down(self) -> None:
        """Take links and rules away as long as no container runs; the next start brings them back. Raises Conflict."""
        store = self._store
        networks.reclaim(store)
        if store.db.row("SELECT 1 FROM endpoints WHERE owner != ''"):
            raise Conflict("networks are in use: containers run", hint="stop them first")
        if links.is_user():
            return
        lock = links.rules_lock(store, shared=False)
        try:
            from wherry.network import neighbours, rules

            mine = [row.link for row in networks.everything(store.db) if row.driver == "bridge"]
            neighbours.forget(mine)
            for link in mine:
                netlink.delete_link(link)

            netlink.send_batch(rules.whole(links.table(store), links.veths(store), [], [], []))
        finally:
            lock.__exit__()


def _name(store: Store, container_id: str) -> str:
    row = store.db.row("SELECT name FROM containers WHERE id = ?", (container_id,))
    return str(row[0]) if row else ""


def _checked(request: NetworkRequest) -> NetworkRequest:
    if not names.is_valid(request.name) and not (len(request.name) == 1 and request.name.isalnum()):
        raise InvalidArgument(f"invalid network name ({request.name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    if request.name in (*network.PREDEFINED, "default", "container"):
        raise Conflict(f"operation is not permitted on predefined {request.name} network")
    if request.driver not in network.DRIVERS:
        if request.driver in ("host", "null", "none"):
            raise InvalidArgument(f'only one instance of "{request.driver}" network is allowed')
        raise NotFound(f"could not find plugin {request.driver} in v1 plugin registry: plugin not found", exit_code=1)
    options = {network.SHORT.get(key, key): value for key, value in request.options.items()}
    size = options.get(network.MTU)
    if size is not None and not (size.isdigit() and 68 <= int(size) <= 65535):
        raise InvalidArgument(f"invalid MTU: {size}", hint="68 to 65535")
    for address in request.servers:
        addresses.packed(address)
    for route in request.routes:
        target, _, gateway = route.partition(",")
        addresses.subnet(target)
        addresses.packed(gateway)
    return request.replace(options=options)


def _link(store: Store, request: NetworkRequest, network_id: str) -> str:
    if request.driver == "bridge":
        name = request.options.get(network.NAME) or links.bridge_name(store, network_id, request.name)
        if len(name) > 15 or "/" in name or " " in name:
            raise InvalidArgument(f"invalid bridge name: {name}", hint="at most 15 characters, no / and no blank")
        if request.options.get(network.NAME) and not links.is_user() and netlink.index_of(name):
            raise Conflict(f"a link called {name} exists already")
        return name
    parent = request.options.get("parent", "")
    if links.is_user():
        raise Unsupported(f"driver {request.driver}: an ordinary user has no link of the host's to share", hint="use the driver bridge")
    if not parent:
        raise InvalidArgument(f"a network of driver {request.driver} needs its parent link", hint="-o parent=eth0")
    if not netlink.index_of(parent):
        raise InvalidArgument(f"invalid subinterface vlan name {parent}, example formatting is eth0.10", hint=f"there is no link {parent}")
    return parent


def _pools(store: Store, request: NetworkRequest) -> list[dict[str, Any]]:
    taken = _taken(store)
    pools = ipam.checked(request.pools, ipv6=request.ipv6)
    # A macvlan's subnet is the parent's own.
    if request.driver == "bridge":
        for pool in pools:
            wanted = addresses.subnet(pool["Subnet"])
            for other in taken:
                if wanted.overlaps(other):
                    raise Conflict(
                        f"invalid pool request: Pool overlaps with other one on this address space: {wanted.shown} and {other.shown}",
                        hint="`network ls`, `ip route` show who has it",
                    )
    versions = {addresses.family(p["Subnet"].partition("/")[0]) for p in pools}
    if request.ipv4 and 4 not in versions:
        pools.insert(0, {"Subnet": ipam.free_pool(taken).shown})
    if request.ipv6 and 6 not in versions:
        pools.append({"Subnet": ipam.free_pool6(os.urandom(7), taken).shown})
    if not pools:
        raise InvalidArgument("IPv4 or IPv6 must be enabled")
    return [ipam.with_gateway(pool) for pool in pools]


def _chosen(store: Store, summary: NetworkSummary, filters: dict[str, list[str]]) -> bool:
    for key, values in filters.items():
        if key == "name":
            fits = any(value in summary.name for value in values)
        elif key == "id":
            fits = any(summary.id.startswith(value) for value in values)
        elif key == "driver":
            fits = summary.driver in values
        elif key == "scope":
            fits = summary.scope in values
        elif key == "type":
            kind = "builtin" if summary.name in network.PREDEFINED else "custom"
            if any(value not in ("builtin", "custom") for value in values):
                raise InvalidArgument(f"invalid filter 'type={values[0]}'")
            fits = kind in values
        elif key == "label":
            fits = all(_labelled(summary.labels, value) for value in values)
        elif key == "dangling":
            used = store.db.row("SELECT 1 FROM endpoints WHERE network_id = ?", (summary.id,)) is not None
            fits = (values[-1] in ("true", "1")) == (not used and summary.name not in network.PREDEFINED)
        else:
            raise InvalidArgument(f"invalid filter '{key}'")
        if not fits:
            return False
    return True


def _labelled(labels: dict[str, str], value: str) -> bool:
    key, equals, wanted = value.partition("=")
    return key in labels and (not equals or labels[key] == wanted)
