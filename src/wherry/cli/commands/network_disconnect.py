"""`network disconnect`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] NETWORK CONTAINER"
OPTIONS = (Option("force", "f", "bool", help="Force the container to disconnect from a network"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="network_disconnect")
    needs_exactly(context, parsed.words, 2)
    context.engine.networks.disconnect(parsed.words[0], parsed.words[1], force=parsed.force)
    return 0
