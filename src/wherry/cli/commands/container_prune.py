"""`container prune`."""

from __future__ import annotations

from wherry.cli.commands import filters
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.model import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("filter", kind="list", check=filters.check, help='Provide filter values (e.g. "until=<timestamp>")'),
    Option("force", "f", "bool", help="Do not prompt for confirmation"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 0)
    if not parsed.force and not filters.confirmed("WARNING! This will remove all stopped containers."):
        return 0
    ids, freed = context.engine.containers.prune(filters.parsed(parsed.filter))
    if ids:
        context.out("Deleted Containers:\n" + "".join(i + "\n" for i in ids) + "\n")
    context.out(f"Total reclaimed space: {sizes.human(freed)}\n")
    return 0
