"""`network connect`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import UsageError
from wherry.model.network import EndpointRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] NETWORK CONTAINER"
OPTIONS = (
    Option("alias", kind="list", help="Add network-scoped alias for the container"),
    Option("driver-opt", kind="list", help="driver options for the network"),
    Option("gw-priority", kind="int", default=0, help="Highest gw-priority provides the default gateway"),
    Option("ip", help="IPv4 address (e.g., 172.30.100.104)"),
    Option("ip6", help="IPv6 address (e.g., 2001:db8::33)"),
    Option("link", kind="list", help="Add link to another container"),
    Option("mac-address", help="MAC address of the new link"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="network_connect")
    needs_exactly(context, parsed.words, 2)
    options = dict(text.partition("=")[::2] for text in parsed.driver_opt)
    if any(not key for key in options):
        raise UsageError("invalid key/value pair format in driver options")
    request = EndpointRequest(
        parsed.words[0],
        aliases=tuple(parsed.alias),
        ip=parsed.ip,
        ip6=parsed.ip6,
        mac=parsed.mac_address,
        links=tuple(parsed.link),
        interface=options.get("com.docker.network.endpoint.ifname", ""),
        options=options,
        priority=parsed.gw_priority,
    )
    context.engine.networks.connect(parsed.words[0], parsed.words[1], request)
    return 0
