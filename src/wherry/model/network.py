"""Networks and endpoints: what is asked for, and what the store keeps."""

from __future__ import annotations

from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREDEFINED = ("bridge", "host", "none")
DRIVERS = ("bridge", "macvlan", "ipvlan")

# docker's names of a bridge's options, and podman's shorter ones for some of them.
NAME = "com.docker.network.bridge.name"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
MTU = "com.docker.network.driver.mtu"
PREFIX = "com.docker.network.container_iface_prefix"
SHORT = {"mtu": MTU, "bridge": NAME, "interface_name": NAME}


class NetworkRequest(Record):
    """A network to create. `pools` have docker's keys: Subnet, IPRange, Gateway, AuxiliaryAddresses."""

    name: str
    driver: str = "bridge"
    pools: tuple[dict[str, Any], ...] = ()
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    ipam_options: dict[str, str] = {}
    internal: bool = False
    ipv4: bool = True
    ipv6: bool = False
    attachable: bool = False
    dns: bool = True
    servers: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    ignore: bool = False


class EndpointRequest(Record):
    """How a container is to be attached to a network: `network` is a name or an id."""

    network: str
    aliases: tuple[str, ...] = ()
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    links: tuple[str, ...] = ()
    interface: str = ""
    options: dict[str, str] = {}
    priority: int = 0


class NetworkSummary(Record):
    """A line of `network ls`."""

    id: str
    name: str
    driver: str
    scope: str
    ipv6: bool
    internal: bool
    labels: dict[str, str]
    created_ns: int
