"""`image prune`."""

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
    Option("all", "a", "bool", help="Remove all unused images, not just dangling ones"),
    Option("filter", kind="list", check=filters.check, help='Provide filter values (e.g. "until=<timestamp>")'),
    Option("force", "f", "bool", help="Do not prompt for confirmation"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="image_prune")
    needs_exactly(context, parsed.words, 0)
    what = "all images without at least one container associated to them" if parsed.all else "all dangling images"
    if not parsed.force and not filters.confirmed(f"WARNING! This will remove {what}."):
        return 0
    done, freed = context.engine.images.prune(all=parsed.all, filters=filters.parsed(parsed.filter))
    if done:
        context.out("Deleted Images:\n" + "".join(f"{kind.lower()}: {name}\n" for kind, name in done) + "\n")
    context.out(f"Total reclaimed space: {sizes.human(freed)}\n")
    return 0
