"""`volume prune`."""

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
    Option("all", "a", "bool", help="Remove all unused volumes, not just anonymous ones"),
    Option("filter", kind="list", check=filters.check, help='Provide filter values (e.g. "label=<label>")'),
    Option("force", "f", "bool", help="Do not prompt for confirmation"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="volume_prune")
    needs_exactly(context, parsed.words, 0)
    what = "all" if parsed.all else "anonymous"
    warning = f"WARNING! This will remove {what} local volumes not used by at least one container."
    if not parsed.force and not filters.confirmed(warning):
        return 0
    names, freed = context.engine.volumes.prune(all=parsed.all, filters=filters.parsed(parsed.filter))
    if names:
        context.out("Deleted Volumes:\n" + "".join(n + "\n" for n in names) + "\n")
    context.out(f"Total reclaimed space: {sizes.human(freed)}\n")
    return 0
