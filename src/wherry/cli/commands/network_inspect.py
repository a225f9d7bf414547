"""`network inspect`."""

from __future__ import annotations

from wherry.cli.commands import documents
from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] NETWORK [NETWORK...]"
OPTIONS = (
    Option("format", "f", help="Format output using a Go template, or 'json'"),
    Option("verbose", "v", "bool", help="Accepted: there is no more to show"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="network_inspect")
    needs_names(context, parsed.words)
    networks = context.engine.networks
    return documents.show(context, parsed.words, parsed.format, networks.inspect, "Error response from daemon: network {} not found")
