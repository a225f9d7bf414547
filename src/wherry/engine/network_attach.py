"""To which networks a new container goes: docker's rules (moby, daemon/container_operations.go), checked before anything is made."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.model import addresses, jsontext
from wherry.store import networks
from wherry.store.networks import EndpointRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.model.network import EndpointRequest
    from wherry.store import Store
    from wherry.store.db import Database
    from wherry.store.networks import NetworkRow

SPECIAL = ("host", "none")


def has_own() -> bool:
    """Whether networks of wherry's own can be had: as root, and where the native program can make a user's."""
    from wherry.kernel import userns
    from wherry.runtime.ops import OPS

    return userns.current().mode == "host" or "PUBLISH" in OPS


def chosen(store: Store, host: dict[str, Any], requests: tuple[EndpointRequest, ...]) -> tuple[EndpointRequest, ...]:
    """Set HostConfig.NetworkMode; the endpoints that the container will have. Raises InvalidArgument, NotFound."""
    mode = host["NetworkMode"]
    if mode in ("", "default"):
        mode = "bridge" if has_own() else "none"
        requests = tuple(r.replace(network=mode) if r.network in ("", "default") else r for r in requests)
    host["NetworkMode"] = mode
    if mode in SPECIAL or mode.startswith("container:"):
        _refuse_for(mode, host, requests)
        return ()
    if not store.db.row("SELECT 1 FROM networks WHERE name = 'bridge'"):
        from wherry.engine.networks import ensure_predefined

        ensure_predefined(store)
    if not requests:
        from wherry.model.network import EndpointRequest as Request

        requests = (Request(mode),)
    seen: set[str] = set()
    found = []
    for request in requests:
        row = networks.find(store.db, request.network)
        if row.name in SPECIAL:
            raise InvalidArgument("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
        if row.id in seen:
            raise InvalidArgument(f'network "{row.name}" is specified multiple times')
        seen.add(row.id)
        check(row, request)
        found.append(request.replace(network=row.id))
    first = networks.find(store.db, found[0].network)
    host["NetworkMode"] = first.name if mode == first.name or not mode else mode
    return tuple(found)


def _refuse_for(mode: str, host: dict[str, Any], requests: tuple[EndpointRequest, ...]) -> None:
    """docker's conflicts of the modes without endpoints."""
    if mode.startswith("container:"):
        if host.get("PortBindings") or host.get("PublishAllPorts"):
            raise InvalidArgument("conflicting options: port publishing and the container type network mode", exit_code=125)
        if host.get("Dns") or host.get("DnsSearch") or host.get("DnsOptions"):
            raise InvalidArgument("conflicting options: dns and the network mode", exit_code=125)
        if host.get("ExtraHosts"):
            raise InvalidArgument("conflicting options: custom host-to-IP mapping and the network mode", exit_code=125)
    if host.get("Links"):
        raise InvalidArgument("conflicting options: links are only supported for bridge and user-defined networks", exit_code=125)
    for request in requests:
        if request.ip or request.ip6:
            raise InvalidArgument("user specified IP address is supported on user defined networks only")
        if request.mac:
            raise InvalidArgument("conflicting options: mac-address and the network mode")
        if request.aliases:
            raise InvalidArgument("network-scoped aliases are only supported for user-defined networks")


def check(row: NetworkRow, request: EndpointRequest) -> None:
    """Whether an endpoint may be as the user wants it on this network."""
    if row.name == "bridge":
        if request.ip or request.ip6:
            raise InvalidArgument("user specified IP address is supported on user defined networks only")
        if request.aliases:
            raise InvalidArgument("network-scoped aliases are only supported for user-defined networks")
    record = row.record()
    for address, version in ((request.ip, 4), (request.ip6, 6)):
        if not address:
            continue
        if addresses.family(address) != version:
            raise InvalidArgument(f"invalid IPv{version} address: {address}")
        if not record.get("Chosen"):
            raise InvalidArgument("user specified IP address is supported only when connecting to networks with user configured subnets")
        if not any(
            addresses.subnet(pool["Subnet"]).version == version and addresses.subnet(pool["Subnet"]).holds(addresses.number(address))
            for pool in record["IPAM"]["Config"]
        ):
            raise InvalidArgument(f"no configured subnet contains IP address {address}")
    if request.mac:
        addresses.mac(request.mac)
    if request.interface and (len(request.interface) > 15 or "/" in request.interface or " " in request.interface):
        raise InvalidArgument(f"invalid interface name: {request.interface}", hint="at most 15 characters, no / and no blank")


def insert(db: Database, container_id: str, requests: tuple[EndpointRequest, ...]) -> None:
    for position, request in enumerate(requests):
        networks.attach(db, row_of(container_id, position, request))


def row_of(container_id: str, position: int, request: EndpointRequest) -> EndpointRow:
    config = {
        "Aliases": list(request.aliases),
        "IP": request.ip,
        "IP6": request.ip6,
        "MAC": addresses.mac(request.mac) if request.mac else "",
        "Links": list(request.links),
        "Interface": request.interface,
        "Options": dict(request.options),
        "Priority": request.priority,
    }
    return EndpointRow(container_id, request.network, position, "", "", "", "", "", "", jsontext.dumps(config))
