"""`network prune`."""

from __future__ import annotations

from wherry.cli.commands import filters
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("filter", kind="list", check=filters.check, help='Provide filter values (e.g. "until=<timestamp>")'),
    Option("force", "f", "bool", help="Do not prompt for confirmation"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="network_prune")
    needs_exactly(context, parsed.words, 0)
    if not parsed.force and not filters.confirmed("WARNING! This will remove all custom networks not used by at least one container."):
        return 0
    done = context.engine.networks.prune(filters.parsed(parsed.filter))
    if done:
        context.out("Deleted Networks:\n" + "".join(name + "\n" for name in done) + "\n")
    return 0
