"""`builder prune`."""

from __future__ import annotations

import time

from wherry.cli.commands import filters
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.engine.build import PruneWishes
from wherry.errors import InvalidArgument
from wherry.model import duration, sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("all", "a", "bool", help="Remove all unused build cache, cache mounts included"),
    Option("filter", kind="list", help='Provide filter values (e.g. "until=24h")'),
    Option("force", "f", "bool", help="Do not prompt for confirmation"),
    Option("keep-storage", help='Amount of disk space to keep for cache (e.g. "10GB")'),
    Option("max-used-space", help="Maximum amount of disk space allowed to keep for cache"),
    Option("min-free-space", help="Target amount of free disk space after pruning"),
    Option("reserved-space", help="Amount of disk space always allowed to keep for cache"),
    Option("verbose", kind="bool", hidden=True),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 0)
    what = "all build cache" if parsed.all else "all dangling build cache"
    if not parsed.force and not filters.confirmed(f"WARNING! This will remove {what}.\n"):
        return 0
    wanted = PruneWishes(
        parsed.all,
        _bytes(parsed.keep_storage or parsed.reserved_space),
        _bytes(parsed.max_used_space),
        _bytes(parsed.min_free_space),
        _until(parsed.filter),
    )
    gone, freed = context.engine.build.prune(wanted)
    if gone:
        context.out("Deleted build cache objects:\n" + "".join(step.key[:25] + "\n" for step in gone) + "\n")
    context.out(f"Total reclaimed space: {sizes.human(freed)}\n")
    return 0


def _bytes(text: str) -> int:
    return sizes.parse_bytes(text, base=1000) if text else 0


def _until(words: list[str]) -> int:
    """The time before which steps are old, 0 for all."""
    for word in words:
        key, _, value = word.partition("=")
        if key not in ("until", "unused-for"):
            raise InvalidArgument(f"invalid filter '{key}'")
        return time.time_ns() - duration.parse(value)
    return 0
