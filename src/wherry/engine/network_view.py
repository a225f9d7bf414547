"""What `inspect`, `ps` and `port` show of networks."""

from __future__ import annotations

from wherry.model import addresses, times
from wherry.network import ipam
from wherry.store import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.store import Store
    from wherry.store.containers import ContainerRow
    from wherry.store.networks import EndpointRow, NetworkRow


def document(store: Store, row: NetworkRow) -> dict[str, Any]:
    """docker's document of a network."""
    record = row.record()
    users = {}
    for endpoint in networks.active(store.db, row.id):
        found = store.db.row("SELECT name FROM containers WHERE id = ?", (endpoint.container_id,))
        users[endpoint.container_id] = {
            "Name": str(found[0]) if found else "",
            "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac,
            "IPv4Address": _with_prefix(record, endpoint.ipv4),
            "IPv6Address": _with_prefix(record, endpoint.ipv6),
        }
    return {
        "Name": row.name,
        "Id": row.id,
        "Created": times.format_ns(row.created_ns),
        "Scope": "local",
        "Driver": row.driver,
        "EnableIPv4": record["EnableIPv4"],
        "EnableIPv6": record["EnableIPv6"],
        "IPAM": record["IPAM"],
        "Internal": record["Internal"],
        "Attachable": record["Attachable"],
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": users,
        "Options": record["Options"],
        "Labels": record["Labels"],
        "Wherry": {
            "Link": row.link,
            "Dns": record.get("Dns", True),
            "Servers": record.get("Servers", []),
            "Routes": record.get("Routes", []),
        },
    }


def _with_prefix(record: dict[str, Any], address: str) -> str:
    if not address:
        return ""
    pool = ipam.pool_of(record["IPAM"]["Config"], addresses.family(address), address)
    return f"{address}/{ipam.prefix_of(pool)}" if pool else address


EMPTY: dict[str, Any] = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "DriverOpts": None,
    "GwPriority": 0,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "MacAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}


def settings(store: Store, row: ContainerRow, record: dict[str, Any], *, alive: bool, pid: int) -> dict[str, Any]:
    """NetworkSettings of `inspect`. What only a running container has is empty for one that doesn't."""
    shown: dict[str, Any] = {}
    mode = record["HostConfig"]["NetworkMode"]
    found = {n.id: n for n in networks.everything(store.db)}
    for endpoint in networks.endpoints(store.db, container_id=row.id):
        network = found.get(endpoint.network_id)
        shown[network.name if network else endpoint.network_id] = _endpoint(network, endpoint, row, record, alive=alive)
    if not shown and not mode.startswith("container:"):
        special = next((n.id for n in found.values() if n.name == mode), "")
        shown[mode] = EMPTY | {"NetworkID": special}
    first = shown.get(mode) or next(iter(shown.values()), EMPTY)
    bridge = shown.get("bridge", EMPTY)
    return {
        "SandboxID": "",
        "SandboxKey": f"/proc/{pid}/ns/net" if alive and pid else "",
        "Ports": _ports(store, row, record, alive=alive),
        # Newer dockers dropped the next ones from the top level; scripts still read them. There they were the default bridge's.
        "Bridge": "",
        "Gateway": bridge["Gateway"],
        "IPAddress": bridge["IPAddress"],
        "IPPrefixLen": bridge["IPPrefixLen"],
        "IPv6Gateway": bridge["IPv6Gateway"],
        "GlobalIPv6Address": bridge["GlobalIPv6Address"],
        "GlobalIPv6PrefixLen": bridge["GlobalIPv6PrefixLen"],
        "MacAddress": bridge["MacAddress"] or (first["MacAddress"] if first else ""),
        "EndpointID": bridge["EndpointID"],
        "Networks": shown,
    }


def _endpoint(
    network: NetworkRow | None, endpoint: EndpointRow, row: ContainerRow, record: dict[str, Any], *, alive: bool
) -> dict[str, Any]:
    config = endpoint.config()
    wanted = {"IPv4Address": config["IP"], "IPv6Address": config["IP6"]}
    found = EMPTY | {
        "IPAMConfig": {key: value for key, value in wanted.items() if value} or None,
        "Links": config["Links"] or None,
        "Aliases": config["Aliases"] or None,
        "DriverOpts": config["Options"] or None,
        "GwPriority": config["Priority"],
        "NetworkID": endpoint.network_id,
    }
    if network is None or network.name != "bridge":
        found["DNSNames"] = names_of(row, record, config["Aliases"])
    if not alive or network is None:
        return found
    pools = network.record()["IPAM"]["Config"]
    internal = bool(network.record()["Internal"])
    found |= {"EndpointID": endpoint.id, "MacAddress": endpoint.mac}
    for version, address, keys in (
        (4, endpoint.ipv4, ("IPAddress", "IPPrefixLen", "Gateway")),
        (6, endpoint.ipv6, ("GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway")),
    ):
        pool = ipam.pool_of(pools, version) if address else None
        if pool:
            gateway = "" if internal else pool.get("Gateway") or ""
            found |= dict(zip(keys, (address, ipam.prefix_of(pool), gateway), strict=True))
    return found


def names_of(row: ContainerRow, record: dict[str, Any], aliases: list[str]) -> list[str]:
    """docker's order: name, aliases, short id, hostname, each once. The first is what an address is called."""
    return list(
        dict.fromkeys([row.name, *aliases, row.id[:12], *([record["Config"]["Hostname"]] if record["Config"].get("Hostname") else [])])
    )


def _ports(store: Store, row: ContainerRow, record: dict[str, Any], *, alive: bool) -> dict[str, Any]:
    if not alive or record["HostConfig"]["NetworkMode"] in ("host", "none"):
        return {}
    found: dict[str, Any] = dict.fromkeys(sorted(record["Config"].get("ExposedPorts") or {}))
    for key in record["HostConfig"].get("PortBindings") or {}:
        found.setdefault(key, None)
    for _owner, protocol, port, host_ip, host_port in networks.ports(store.db, row.id):
        bound = {"HostIp": host_ip, "HostPort": str(host_port)}
        found[f"{port}/{protocol}"] = [*(found.get(f"{port}/{protocol}") or ()), bound]
    return found


def ports_text(exposed: list[str], published: list[tuple[str, int, str, int]]) -> str:
    """docker's PORTS column: contiguous ranges grouped (docker/cli, formatter.DisplayablePorts). (protocol, port, host ip, host port)."""
    groups: list[list[Any]] = []
    bound = {f"{port}/{protocol}" for protocol, port, _ip, _number in published}
    lines: list[tuple[int, str, str, int]] = [
        (int(key.partition("/")[0]), key.partition("/")[2] or "tcp", "", 0) for key in exposed if key not in bound
    ]
    lines += [(port, protocol, ip, number) for protocol, port, ip, number in published]
    # By address and protocol first, so that ranges lie side by side.
    for port, protocol, ip, number in sorted(lines, key=lambda line: (line[1], _rank(line[2]), line[2], line[0], line[3])):
        last = groups[-1] if groups else None
        follows = last and last[0] == protocol and last[1] == ip and last[3] + 1 == port and (not number or last[5] + 1 == number)
        if last and follows:
            last[3], last[5] = port, number
        else:
            groups.append([protocol, ip, port, port, number, number])
    groups.sort(key=lambda g: (g[2], g[0], _rank(g[1])))
    texts = []
    for protocol, ip, first, end, host_first, host_end in groups:
        inside = f"{first}/{protocol}" if first == end else f"{first}-{end}/{protocol}"
        if not host_first:
            texts.append(inside)
            continue
        outside = f"{host_first}" if host_first == host_end else f"{host_first}-{host_end}"
        texts.append(f"{f'[{ip}]' if ':' in ip else ip}:{outside}->{inside}")
    return ", ".join(texts)


def _rank(ip: str) -> int:
    return 0 if not ip else 2 if ":" in ip else 1


def port_lines(store: Store, row: ContainerRow) -> list[tuple[str, str]]:
    """(80/tcp, 0.0.0.0:8080), sorted as docker's `port` does."""
    found = []
    for _owner, protocol, port, host_ip, host_port in networks.ports(store.db, row.id):
        found.append(((port, protocol, _rank(host_ip), host_ip, host_port), f"{port}/{protocol}", host_ip, host_port))
    return [(key, f"{f'[{ip}]' if ':' in ip else ip}:{number}") for _order, key, ip, number in sorted(found)]


def gateway_of_default(store: Store) -> str:
    """The host as containers of the default bridge reach it."""
    row = store.db.row("SELECT record FROM networks WHERE name = 'bridge'")
    if row is None:
        return ""
    from wherry.model import jsontext

    pool = ipam.pool_of(jsontext.loads(row[0])["IPAM"]["Config"], 4)
    return str((pool or {}).get("Gateway") or "")
