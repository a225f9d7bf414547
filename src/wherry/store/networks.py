"""Networks, endpoints, leased addresses and published ports in the database.

An endpoint's row stands as long as its container is attached; its addresses are set while the container runs (or is being
started by `owner`, pid and start time), so that two never have the same one.
"""

from __future__ import annotations

import os

from wherry.errors import Conflict, InvalidArgument, NotFound
from wherry.kernel import process
from wherry.model import jsontext
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.store import Store
    from wherry.store.db import Database


class NetworkRow(Record):
    """A network. `link` is the bridge's (or the parent's) name in the kernel; `record()` has docker's keys and our own."""

    id: str
    name: str
    driver: str
    link: str
    created_ns: int
    record_text: str

    def record(self) -> dict[str, Any]:
        return jsontext.loads(self.record_text)  # type: ignore[no-any-return]


class EndpointRow(Record):
    """A container's attachment. Addresses and MAC are "" while it has none; `config()` is what the user asked for."""

    container_id: str
    network_id: str
    position: int
    id: str
    interface: str
    mac: str
    ipv4: str
    ipv6: str
    owner: str
    config_text: str

    def config(self) -> dict[str, Any]:
        return jsontext.loads(self.config_text)  # type: ignore[no-any-return]


_NETWORK = "SELECT id, name, driver, link, created_ns, record FROM networks "
_ENDPOINT = (
    "SELECT container_id, network_id, position, id, interface, mac, coalesce(ipv4, ''), coalesce(ipv6, ''), owner, config FROM endpoints "
)


def everything(db: Database) -> list[NetworkRow]:
    return [NetworkRow(*row) for row in db.rows(_NETWORK + "ORDER BY created_ns, id")]


def find(db: Database, name: str) -> NetworkRow:
    """By id, name, or a unique prefix of an id. Raises NotFound, InvalidArgument."""
    row = db.row(_NETWORK + "WHERE id = ?", (name,)) or db.row(_NETWORK + "WHERE name = ?", (name,))
    if row is None and name and len(name) <= 64 and all(c in "0123456789abcdef" for c in name):
        rows = db.rows(_NETWORK + "WHERE id >= ? AND id < ? LIMIT 2", (name, name + "g"))
        if len(rows) > 1:
            raise InvalidArgument(f"network {name} is ambiguous ({len(rows)} matches found based on ID prefix)")
        row = rows[0] if rows else None
    if row is None:
        raise NotFound(f"network {name} not found")
    return NetworkRow(*row)


def insert(db: Database, row: NetworkRow) -> None:
    """Raises Conflict when the name is taken."""
    if db.row("SELECT 1 FROM networks WHERE name = ?", (row.name,)):
        raise Conflict(f"network with name {row.name} already exists")
    db.execute(
        "INSERT INTO networks (id, name, driver, link, created_ns, record) VALUES (?, ?, ?, ?, ?, ?)",
        (row.id, row.name, row.driver, row.link, row.created_ns, row.record_text),
    )


def delete(db: Database, network_id: str) -> None:
    db.execute("DELETE FROM networks WHERE id = ?", (network_id,))


def endpoints(db: Database, *, container_id: str = "", network_id: str = "") -> list[EndpointRow]:
    if container_id:
        rows = db.rows(_ENDPOINT + "WHERE container_id = ? ORDER BY position", (container_id,))
    elif network_id:
        rows = db.rows(_ENDPOINT + "WHERE network_id = ? ORDER BY container_id", (network_id,))
    else:
        rows = db.rows(_ENDPOINT + "ORDER BY container_id, position")
    return [EndpointRow(*row) for row in rows]


def attach(db: Database, row: EndpointRow) -> None:
    db.execute(
        "INSERT INTO endpoints (container_id, network_id, position, id, interface, mac, ipv4, ipv6, owner, config) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.container_id,
            row.network_id,
            row.position,
            row.id,
            row.interface,
            row.mac,
            row.ipv4 or None,
            row.ipv6 or None,
            row.owner,
            row.config_text,
        ),
    )


def detach(db: Database, container_id: str, network_id: str) -> None:
    db.execute("DELETE FROM endpoints WHERE container_id = ? AND network_id = ?", (container_id, network_id))


def set_addresses(db: Database, row: EndpointRow) -> None:
    db.execute(
        "UPDATE endpoints SET id = ?, interface = ?, mac = ?, ipv4 = ?, ipv6 = ?, owner = ? WHERE container_id = ? AND network_id = ?",
        (row.id, row.interface, row.mac, row.ipv4 or None, row.ipv6 or None, row.owner, row.container_id, row.network_id),
    )


def release(db: Database, container_id: str) -> None:
    """Give back what a container held while it ran: addresses and published ports."""
    db.execute("UPDATE endpoints SET id = '', ipv4 = NULL, ipv6 = NULL, owner = '' WHERE container_id = ?", (container_id,))
    db.execute("DELETE FROM ports WHERE container_id = ?", (container_id,))


def active(db: Database, network_id: str) -> list[EndpointRow]:
    """Endpoints that hold an address."""
    return [EndpointRow(*row) for row in db.rows(_ENDPOINT + "WHERE network_id = ? AND owner != '' ORDER BY container_id", (network_id,))]


def reclaim(store: Store) -> list[str]:
    """Give back what dead containers held; their ids. A container is alive when its monitor is, or the command that starts it."""
    holders = store.db.rows("SELECT DISTINCT container_id, owner FROM endpoints WHERE owner != ''")
    if not holders:
        return []
    living = set()
    for name in os.listdir(store.run_path("live")):
        pid, _, rest = name.partition(".")
        start, _, container_id = rest.partition(".")
        if pid.isdigit() and start.isdigit() and process.alive(int(pid), int(start)):
            living.add(container_id)
    dead = []
    for container_id, owner in holders:
        pid, _, start = owner.partition(" ")
        if container_id not in living and not (pid.isdigit() and start.isdigit() and process.alive(int(pid), int(start))):
            dead.append(container_id)
    if dead:
        with store.db.transaction(durable=False) as db:
            for container_id in dead:
                release(db, container_id)
    return dead


def ports(db: Database, container_id: str = "") -> list[tuple[str, str, int, str, int]]:
    """(container id, protocol, container port, host address, host port) of published ports in force."""
    where = "WHERE container_id = ? " if container_id else ""
    return [
        (str(a), str(b), int(c), str(d), int(e))
        for a, b, c, d, e in db.rows(
            f"SELECT container_id, protocol, port, host_ip, host_port FROM ports {where}ORDER BY container_id, port, protocol, host_ip DESC",
            (container_id,) if container_id else (),
        )
    ]


def publish(db: Database, container_id: str, protocol: str, port: int, host_ip: str, host_port: int) -> None:
    db.execute(
        "INSERT INTO ports (container_id, protocol, port, host_ip, host_port) VALUES (?, ?, ?, ?, ?)",
        (container_id, protocol, port, host_ip, host_port),
    )
