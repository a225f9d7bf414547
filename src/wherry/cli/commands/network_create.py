"""`network create`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import UsageError
from wherry.model import envfile
from wherry.model.network import NetworkRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.context import Context
    from wherry.cli.options import Parsed

USAGE = "[OPTIONS] NETWORK"
OPTIONS = (
    Option("attachable", kind="bool", help="Noted; every container may be attached"),
    Option("aux-address", kind="list", help="Auxiliary IPv4 or IPv6 addresses that no container gets (name=address)"),
    Option("disable-dns", kind="bool", help="No resolver of names on this network"),
    Option("dns", kind="list", help="Name servers that names outside are asked of"),
    Option("driver", "d", default="bridge", help="Driver to manage the network (bridge|macvlan|ipvlan)"),
    Option("gateway", kind="list", help="IPv4 or IPv6 gateway for the subnet"),
    Option("ignore", kind="bool", help="Don't fail if the network exists"),
    Option("interface-name", help="Name of the bridge, or of the parent link"),
    Option("internal", kind="bool", help="Restrict external access to the network"),
    Option("ip-range", kind="list", help="Allocate container ip from a sub-range"),
    Option("ipam-driver", default="default", help="IP address management driver (default)"),
    Option("ipam-opt", kind="list", placeholder="map", help="IPAM driver specific options"),
    Option("ipv4", kind="bool", default=True, help="Enable or disable IPv4 address assignment"),
    Option("ipv6", kind="bool", help="Enable or disable IPv6 address assignment"),
    Option("label", kind="list", check=envfile.label, help="Set metadata on a network"),
    Option("opt", "o", "list", placeholder="map", help="Set driver specific options"),
    Option("route", kind="list", help="Static route in the containers (subnet,gateway)"),
    Option("scope", hidden=True),
    Option("subnet", kind="list", help="Subnet in CIDR format that represents a network segment"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="network_create")
    needs_exactly(context, parsed.words, 1)
    if parsed.ipam_driver not in ("default", "", "host-local"):
        raise UsageError(f"IPAM driver {parsed.ipam_driver} is not supported: `default` is the only one")
    if parsed.scope not in ("", "local"):
        raise UsageError(f"scope {parsed.scope} is not supported: `local` is the only one")
    options = _pairs(parsed.opt)
    if parsed.interface_name:
        options["parent" if parsed.driver in ("macvlan", "ipvlan") else "com.docker.network.bridge.name"] = parsed.interface_name
    request = NetworkRequest(
        name=parsed.words[0],
        driver=parsed.driver,
        pools=_pools(parsed),
        options=options,
        labels=envfile.labels(parsed.label),
        ipam_options=_pairs(parsed.ipam_opt),
        internal=bool(parsed.internal),
        ipv4=bool(parsed.ipv4),
        ipv6=bool(parsed.ipv6),
        attachable=bool(parsed.attachable),
        dns=not parsed.disable_dns,
        servers=tuple(parsed.dns),
        routes=tuple(parsed.route),
        ignore=bool(parsed.ignore),
    )
    context.out(context.engine.networks.create(request) + "\n")
    return 0


def _pairs(texts: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def _pools(parsed: Parsed) -> tuple[dict[str, Any], ...]:
    """Each gateway, range and auxiliary address goes to the subnet that holds it (docker/cli, network/create.go)."""
    from wherry.model import addresses

    if not parsed.subnet:
        if parsed.ip_range or parsed.gateway or parsed.aux_address:
            raise UsageError("every ip-range or gateway must have a corresponding subnet")
        return ()
    pools: list[dict[str, Any]] = [{"Subnet": text, "IPRange": "", "Gateway": "", "AuxiliaryAddresses": {}} for text in parsed.subnet]

    def home(address: str, what: str) -> dict[str, Any]:
        version = addresses.family(address)
        for pool in pools:
            subnet = addresses.subnet(pool["Subnet"])
            if version == subnet.version and subnet.holds(addresses.number(address)):
                return pool
        raise UsageError(f"no matching subnet for {what}")

    for text in parsed.gateway:
        pool = home(text, f"gateway {text}")
        if pool["Gateway"]:
            raise UsageError(f"cannot configure multiple gateways ({text}, {pool['Gateway']}) on the same subnet ({pool['Subnet']})")
        pool["Gateway"] = text
    for text in parsed.ip_range:
        pool = home(text.partition("/")[0], f"range {text}")
        if pool["IPRange"]:
            raise UsageError(f"cannot configure multiple ranges ({text}, {pool['IPRange']}) on the same subnet ({pool['Subnet']})")
        pool["IPRange"] = text
    for text in parsed.aux_address:
        name, _, address = text.partition("=")
        home(address, f"aux-address {address}")["AuxiliaryAddresses"][name] = address
    return tuple(pools)
