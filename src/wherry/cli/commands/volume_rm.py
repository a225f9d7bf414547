"""`volume rm`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names, report
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] VOLUME [VOLUME...]"
OPTIONS = (Option("force", "f", "bool", help="Force the removal of one or more volumes"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="volume_rm")
    needs_names(context, parsed.words)
    return report(context, context.engine.volumes.remove_many(parsed.words, force=parsed.force))
