"""Names of our things in the kernel, and root's bridges and tables: made, looked at, taken away."""

from __future__ import annotations

import binascii
import fcntl
import os

from wherry.errors import HostError
from wherry.kernel import userns
from wherry.model import addresses, network
from wherry.network import netlink, nft, rules
from wherry.network.rules import Binding, Guard, Wall
from wherry.store import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.store import Store
    from wherry.store.networks import EndpointRow, NetworkRow

# One at a time makes links on this machine, whatever its store: two must not choose the same subnet.
_MACHINE_LOCK = "/run/wherry-networks.lock"
_DEFAULT_ROOT = "/var/lib/wherry"


def is_user() -> bool:
    """Whether networks live in an R-net: for everybody but the host's root."""
    return userns.current().mode != "host"


def tag(store: Store) -> str:
    """Five digits that tell this store's links from another one's."""
    return f"{binascii.crc32(os.fsencode(store.root)):08x}"[:5]


def table(store: Store) -> str:
    """The name of our tables. A user has a network namespace of his own, and so the plain name."""
    return "wherry" if store.root == _DEFAULT_ROOT or is_user() else f"wherry-{tag(store)}"


def bridge_name(store: Store, network_id: str, name: str) -> str:
    if name == "bridge" and (store.root == _DEFAULT_ROOT or is_user()):
        return "wherry0"
    return f"wb-{network_id[:12]}"


def veth_name(store: Store, container_id: str, position: int) -> str:
    return f"v{tag(store)}{container_id[:7]}{position % 256:02x}"


def veths(store: Store) -> str:
    return f"v{tag(store)}*"


def bridge_mac(network_id: str) -> str:
    return "02:42:" + ":".join(network_id[i : i + 2] for i in (0, 2, 4, 6))


class Lock:
    """flock on a file; `shared` ones meet. Held until the `with` ends."""

    def __init__(self, path: str, *, shared: bool = False) -> None:
        self._path, self._shared = path, shared
        self._fd = -1

    def __enter__(self) -> Lock:
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise HostError(f"cannot open {self._path}: {os.strerror(error.errno or 0)}") from error
        fcntl.flock(self._fd, fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX)
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)
        self._fd = -1


def machine_lock() -> Lock:
    return Lock(_MACHINE_LOCK)


def rules_lock(store: Store, *, shared: bool) -> Lock:
    """Shared by the starts of containers, from their leases to their elements in the maps; alone whoever writes the tables anew."""
    folder = store.run_path("net")
    try:
        return Lock(folder + "/rules", shared=shared).__enter__()
    except HostError:
        os.makedirs(folder + "/names", 0o700, exist_ok=True)
        return Lock(folder + "/rules", shared=shared).__enter__()


# -- what there should be --------------------------------------------------------------------------------------------------


def option(record: dict[str, Any], key: str, default: str) -> str:
    return str((record.get("Options") or {}).get(key) or default)


def is_on(record: dict[str, Any], key: str, *, default: bool) -> bool:
    return option(record, key, str(default)).lower() in ("true", "1")


def mtu(record: dict[str, Any]) -> int:
    text = option(record, network.MTU, "0")
    return int(text) if text.isdigit() else 0


def wall(row: NetworkRow) -> Wall:
    record = row.record()
    return Wall(
        row.link,
        tuple(pool["Subnet"] for pool in record["IPAM"]["Config"]),
        # A user's link takes what goes out as it is, and has no address of its own to put in front.
        masquerade=is_on(record, network.MASQUERADE, default=True) and not is_user(),
        internal=bool(record["Internal"]),
        icc=is_on(record, network.ICC, default=True),
    )


def guards(store: Store, endpoints: list[EndpointRow]) -> list[Guard]:
    found = []
    for row in endpoints:
        veth = veth_name(store, row.container_id, row.position)
        found += [Guard(veth, row.mac, address) for address in (row.ipv4, row.ipv6) if address]
    return found


def bindings(store: Store, container_id: str = "") -> list[Binding]:
    """Published ports that are in force, to the address of the endpoint that is the container's way out."""
    ports = networks.ports(store.db, container_id)
    if not ports:
        return []
    homes: dict[str, tuple[str, str]] = {}
    for row in networks.endpoints(store.db, container_id=container_id):
        four, six = homes.get(row.container_id, ("", ""))
        homes[row.container_id] = (four or row.ipv4, six or row.ipv6)
    found = []
    for owner, protocol, port, host_ip, host_port in ports:
        four, six = homes.get(owner, ("", ""))
        address = six if addresses.family(host_ip) == 6 else four
        if address:
            found.append(Binding(protocol, host_ip, host_port, address, port))
    return found


def batch(store: Store) -> bytes:
    """Our tables as a whole, out of the database."""
    from wherry.model import config

    rows = [row for row in networks.everything(store.db) if row.driver == "bridge" and row.link]
    own = {row.id for row in rows}
    active = [row for row in networks.endpoints(store.db) if row.owner and row.network_id in own]
    blocked = ("169.254.169.254", "fd00:ec2::254") if config.value("block_metadata") else ()
    return rules.whole(
        table(store),
        veths(store),
        [wall(row) for row in rows],
        guards(store, active),
        [] if is_user() else bindings(store),
        blocked=blocked,
        inner=is_user(),
    )


# -- root: in the host's namespace -------------------------------------------------------------------------------------------


def is_up(store: Store, row: NetworkRow) -> bool:
    return bool(netlink.index_of(row.link)) and netlink.table_exists(nft.INET, table(store))


def bring_up(store: Store, rows: list[NetworkRow]) -> None:
    """Make the bridges of `rows` that are missing and write the tables anew. Raises HostError."""
    lock = rules_lock(store, shared=False)
    try:
        with machine_lock():
            for row in rows:
                _bridge(row)
        _forwarding(rows)
        netlink.send_batch(batch(store))
        from wherry.network import neighbours

        neighbours.let_through([row.link for row in networks.everything(store.db) if row.driver == "bridge"])
    finally:
        lock.__exit__()


def _bridge(row: NetworkRow) -> None:
    if netlink.index_of(row.link):
        return
    record = row.record()
    try:
        netlink.make_bridge(row.link, bridge_mac(row.id), mtu(record))
        for pool in record["IPAM"]["Config"]:
            if pool.get("Gateway"):
                prefix = int(pool["Subnet"].partition("/")[2])
                netlink.add_address(row.link, addresses.packed(pool["Gateway"]), prefix)
        netlink.set_up(row.link)
    except OSError as error:
        netlink.delete_link(row.link)
        raise HostError(f"cannot make the bridge {row.link} of network {row.name}: {os.strerror(error.errno or 0)}") from error
    # Clients on the host's loopback reach published ports; the rules keep the other direction shut.
    _sysctl(f"/proc/sys/net/ipv4/conf/{row.link}/route_localnet", "1")


def _forwarding(rows: list[NetworkRow]) -> None:
    six = any(addresses.family(p["Subnet"].partition("/")[0]) == 6 for row in rows for p in row.record()["IPAM"]["Config"])
    for path in ("/proc/sys/net/ipv4/ip_forward", *(("/proc/sys/net/ipv6/conf/all/forwarding",) if six else ())):
        _sysctl(path, "1")


def _sysctl(path: str, value: str) -> None:
    try:
        with open(path, "r+", encoding="ascii") as file:
            if file.read().strip() != value:
                file.seek(0)
                file.write(value)
    except OSError:
        # A read-only /proc/sys of an outer container: what doesn't work for it is seen by who needs it.
        return


def take_down(store: Store, row: NetworkRow) -> None:
    """A network that is no more: its bridge goes, and the rules without it come."""
    lock = rules_lock(store, shared=False)
    try:
        from wherry.network import neighbours

        neighbours.forget([row.link])
        netlink.delete_link(row.link)
        netlink.send_batch(batch(store))
    finally:
        lock.__exit__()


def host_subnets() -> list[addresses.Subnet]:
    """Ranges that the host has routes to, without those of `own` links."""
    return [addresses.Subnet(version, first, prefix) for version, first, prefix, _link in netlink.routes()]
