"""What a start needs of networks: leased addresses, published ports, the plan's operations. Nothing is executed here.

The order that makes it safe: under the shared lock of the rules, leases and ports are committed, then the monitor puts the elements
into the maps; whoever writes the tables anew has the lock alone and reads the database.
"""

from __future__ import annotations

import os

from wherry.errors import HostError, NotFound
from wherry.kernel import process
from wherry.model import addresses, names
from wherry.model.record import Record
from wherry.network import ipam, links, netlink, rules
from wherry.store import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine
    from wherry.network.links import Lock
    from wherry.network.rootless import Setting
    from wherry.store import Store
    from wherry.store.containers import ContainerRow
    from wherry.store.networks import EndpointRow, NetworkRow

    Steps = list[tuple[str, tuple[Any, ...]]]

# IFLA_MACVLAN_MODE and IFLA_IPVLAN_MODE, by docker's names.
_MACVLAN = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN = {"l2": 0, "l3": 1, "l3s": 2}
_ISOLATED, _HAIRPIN = 1, 2


class Attached(Record):
    """An endpoint with its network's record: everything that its link needs."""

    network: NetworkRow
    endpoint: EndpointRow
    record: dict[str, Any]

    @property
    def wants_names(self) -> bool:
        """Whether the network has names: those of the user's own do, as docker's."""
        return self.network.name != "bridge" and bool(self.record.get("Dns", True))

    def pool(self, version: int) -> dict[str, Any] | None:
        return ipam.pool_of(self.record["IPAM"]["Config"], version)

    def gateway(self, version: int) -> str:
        pool = self.pool(version)
        return str((pool or {}).get("Gateway") or "") if not self.record["Internal"] else ""


class Wiring:
    """What `prepare` found. Close it when the start is over, well or not: the lock goes."""

    def __init__(self, attached: list[Attached], steps: Steps, lock: Lock | None, setting: Setting | None = None) -> None:
        self.attached = attached
        self.steps = steps
        self._lock = lock
        self._setting = setting

    @property
    def resolver(self) -> bool:
        """Whether the container gets a resolver of names: on networks of the user's own, as docker."""
        return any(a.wants_names for a in self.attached)

    def announce(self, store: Store) -> None:
        """Tell the resolvers of its networks of it."""
        from wherry.engine import network_names

        for item in self.attached:
            if item.network.name != "bridge":
                network_names.write(store, item.network.id)

    @property
    def descriptor(self) -> int:
        """R-net's, for the launcher to inherit; -1 where there is none."""
        return self._setting.rnet.fd if self._setting else -1

    @property
    def resident(self) -> int:
        """The pid of a monitor whose user namespace must be joined; 0: any."""
        return self._setting.rnet.pid if self._setting else 0

    def started(self) -> None:
        """The container runs: what its plan has made is there."""
        if self._setting is not None and self._setting.fresh:
            self._setting.done()

    def close(self) -> None:
        if self._lock is not None:
            self._lock.__exit__()
            self._lock = None


def prepare(engine: Engine, row: ContainerRow, record: dict[str, Any]) -> Wiring | None:
    """Lease and publish what the container needs; None when it has no network of ours. Raises Conflict, HostError, NotFound."""
    store = engine.store
    endpoints = networks.endpoints(store.db, container_id=row.id)
    if not endpoints:
        return None
    found = {n.id: n for n in networks.everything(store.db)}
    for endpoint in endpoints:
        if endpoint.network_id not in found:
            raise NotFound(f"network {endpoint.network_id} not found")
    used = [found[e.network_id] for e in endpoints]
    if links.is_user():
        return _prepare_user(store, row, record, [(found[e.network_id], e) for e in endpoints])
    bring_up(store, used)
    lock = links.rules_lock(store, shared=True)
    try:
        clean(store)
        attached = lease(store, [(found[e.network_id], e) for e in endpoints])
        _publish(store, row, record, attached)
        return Wiring(attached, steps_of(store, row.id, attached), lock)
    except BaseException:
        lock.__exit__()
        networks.release(store.db, row.id)
        raise


def _prepare_user(store: Store, row: ContainerRow, record: dict[str, Any], wanted: list[tuple[NetworkRow, EndpointRow]]) -> Wiring:
    """The same for a user: bridges and rules are made by the plan, where they are not as the database has them."""
    from wherry.network import rootless

    rootless.check_kernel()
    lock = links.rules_lock(store, shared=False)
    rnet = rootless.find(store)
    try:
        doomed = remains(store)
        attached = lease(store, wanted)
        _publish(store, row, record, attached)
        setting = rootless.Setting(store, rnet)
        steps = setting.steps([network for network, _endpoint in wanted])
        if doomed and not setting.fresh:
            steps.append(("NFT", (doomed, b"", 1)))
        steps += steps_of(store, row.id, attached)
        if not setting.fresh:
            lock.__exit__()
            lock = links.rules_lock(store, shared=True)
        return Wiring(attached, steps, lock, setting)
    except BaseException:
        lock.__exit__()
        if rnet.fd >= 0:
            os.close(rnet.fd)
        networks.release(store.db, row.id)
        raise


def bring_up(store: Store, rows: list[NetworkRow]) -> None:
    bridges = [row for row in rows if row.driver == "bridge"]
    if bridges and links.is_user():
        from wherry.network import rootless

        rootless.bring_up(store, bridges)
        return
    if bridges and not all(links.is_up(store, row) for row in bridges):
        links.bring_up(store, bridges)


def clean(store: Store) -> None:
    """What containers that are gone held: their leases, and elements of maps that nobody could take away for them."""
    found = remains(store)
    if not links.is_user():
        _send_each(found)


def bury(store: Store) -> None:
    """A monitor was killed: what it held goes before its container's rows do. What forbids it now, the next start meets again."""
    try:
        if not links.is_user():
            clean(store)
            return
        from wherry.network import rootless

        found = remains(store)
        if found:
            rootless.operate(store, [("NFT", (found, b"", 1))])
    except HostError:
        return


def remains(store: Store) -> bytes:
    """The leases of dead containers go; the batches that take their elements away."""
    endpoints = [row for row in networks.endpoints(store.db) if row.owner]
    if not endpoints:
        return b""
    ports = {row.container_id: [] if links.is_user() else links.bindings(store, row.container_id) for row in endpoints}
    out = b""
    for container_id in networks.reclaim(store):
        mine = [row for row in endpoints if row.container_id == container_id]
        out += rules.go(links.table(store), links.guards(store, mine), ports.get(container_id, []))
        for network_id in {row.network_id for row in mine}:
            if os.path.exists(store.run_path("net", "names", network_id)):
                from wherry.engine import network_names

                network_names.write(store, network_id)
    return out


def _send_each(data: bytes) -> None:
    """Batches of one element each: those that are gone already are no error."""
    at = begun = 0
    while at + 16 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        kind = int.from_bytes(data[at + 4 : at + 6], "little")
        at += (size + 3) & ~3
        if kind == 17:
            try:
                netlink.send_batch(data[begun:at])
            except HostError:
                pass
            begun = at


# -- addresses ------------------------------------------------------------------------------------------------------------


def lease(store: Store, wanted: list[tuple[NetworkRow, EndpointRow]]) -> list[Attached]:
    """Addresses for endpoints, committed: no two containers get the same one."""
    pid = os.getpid()
    owner = f"{pid} {process.start_time(pid)}"
    done = []
    with store.db.transaction(durable=False) as db:
        for network, endpoint in wanted:
            record = network.record()
            config = endpoint.config()
            pools = record["IPAM"]["Config"]
            found = {4: "", 6: ""}
            for version, key in ((4, "IP"), (6, "IP6")):
                pool = ipam.pool_of(pools, version, config[key])
                if pool is None:
                    continue
                column = f"ipv{version}"
                taken = db.rows(f"SELECT {column} FROM endpoints WHERE network_id = ? AND {column} IS NOT NULL AND container_id != ?",
                                (network.id, endpoint.container_id))  # fmt: skip
                found[version] = ipam.address(pool, {a for (a,) in taken}, config[key])
            mac = config["MAC"] or addresses.mac_for(found[4] or found[6])
            prefix = (record.get("Options") or {}).get("com.docker.network.container_iface_prefix") or "eth"
            interface = config["Interface"] or f"{prefix}{endpoint.position}"
            row = endpoint.replace(id=names.new_id(), interface=interface, mac=mac, ipv4=found[4], ipv6=found[6], owner=owner)
            networks.set_addresses(db, row)
            done.append(Attached(network, row, record))
    return done


# -- published ports --------------------------------------------------------------------------------------------------------


def _publish(store: Store, row: ContainerRow, record: dict[str, Any], attached: list[Attached]) -> None:
    host = record["HostConfig"]
    wanted = host.get("PortBindings") or {}
    if not wanted and not host.get("PublishAllPorts"):
        return
    if all(a.record["Internal"] for a in attached):
        return
    from wherry.engine import network_ports

    network_ports.publish(store, row, record, attached)


# -- the plan's operations ---------------------------------------------------------------------------------------------------


def steps_of(store: Store, container_id: str, attached: list[Attached]) -> Steps:
    steps: Steps = []
    user = links.is_user()
    bindings = links.bindings(store, container_id)
    published = bool(bindings)
    for _owner, protocol, port, host_ip, host_port in networks.ports(store.db, container_id):
        if not user:
            steps.append(("HOLD", (rules.PROTOCOLS[protocol], host_ip, host_port)))
            continue
        address = next((a.endpoint.ipv4 or a.endpoint.ipv6 for a in attached if not a.record["Internal"]), "")
        if addresses.family(host_ip) == 6:
            address = next((a.endpoint.ipv6 for a in attached if a.endpoint.ipv6 and not a.record["Internal"]), "") or address
        steps.append(("PUBLISH", (rules.PROTOCOLS[protocol], host_ip, host_port, address, port)))
    if user:
        bindings = []
    bridged = [a.endpoint for a in attached if a.network.driver == "bridge"]
    guards = links.guards(store, bridged)
    table = links.table(store)
    if guards or bindings:
        steps.append(("NFT", (rules.come(table, guards, bindings), rules.go(table, guards, bindings), 0)))
    way = default_way(attached)
    for item in attached:
        steps.append(link_step(store, item, way, published=published))
    for item in attached:
        if item.wants_names:
            steps.append(("NAMED", (item.network.id, ",".join(a for a in (item.endpoint.ipv4, item.endpoint.ipv6) if a))))
    return steps


def default_way(attached: list[Attached]) -> dict[int, Attached]:
    """By family: the endpoint whose gateway is the container's way out. The highest priority, then docker's order: by name."""
    found: dict[int, Attached] = {}
    for item in sorted(attached, key=lambda a: (-int(a.endpoint.config().get("Priority") or 0), a.network.name)):
        for version, address in ((4, item.endpoint.ipv4), (6, item.endpoint.ipv6)):
            if address and item.gateway(version):
                found.setdefault(version, item)
    return found


def link_step(store: Store, item: Attached, way: dict[int, Attached], *, published: bool = False) -> tuple[str, tuple[Any, ...]]:
    """The operation that makes an endpoint's link."""
    endpoint, record, network = item.endpoint, item.record, item.network
    given, routes = [], []
    for version, address in ((4, endpoint.ipv4), (6, endpoint.ipv6)):
        pool = ipam.pool_of(record["IPAM"]["Config"], version, endpoint.config()["IP" if version == 4 else "IP6"])
        if not address or pool is None:
            continue
        given.append(f"{address}/{ipam.prefix_of(pool)}")
        if way.get(version) is item and network.driver != "ipvlan":
            routes.append(f"default via {item.gateway(version)}")
        elif way.get(version) is item:
            mode = links.option(record, "ipvlan_mode", "l2")
            routes.append(f"default via {item.gateway(version)}" if mode == "l2" else "default" if version == 4 else "default6")
    for route in record.get("Routes") or ():
        target, _, gateway = route.partition(",")
        routes.append(f"{target} via {gateway}")
    mtu = links.mtu(record)
    if network.driver == "bridge":
        flags = 0 if links.is_on(record, "com.docker.network.bridge.enable_icc", default=True) else _ISOLATED
        if published:
            # With br_netfilter a container that asks its own published port is answered on the port that it came from.
            flags |= _HAIRPIN
        veth = links.veth_name(store, endpoint.container_id, endpoint.position)
        return "VETH", (network.link, veth, endpoint.interface, endpoint.mac, tuple(given), tuple(routes), mtu, flags)
    if network.driver == "macvlan":
        number = _MACVLAN.get(links.option(record, "macvlan_mode", "bridge"), 4)
    else:
        number = _IPVLAN.get(links.option(record, "ipvlan_mode", "l2"), 0)
    return "SUBLINK", (network.driver, number, network.link, endpoint.interface, endpoint.mac, tuple(given), tuple(routes), mtu)


def failed(store: Store, row: ContainerRow) -> None:
    """The start came to nothing: what was leased goes back."""
    if links.is_user():
        # Where rules were missing the next start writes them all.
        from wherry.network import rootless

        rootless.forget(store)
    networks.release(store.db, row.id)
