"""`secret rm`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names, report
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] SECRET [SECRET...]"
OPTIONS = (
    Option("all", "a", "bool", help="Remove all secrets"),
    Option("ignore", "i", "bool", help="Ignore secrets that are not there"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    if not parsed.all:
        needs_names(context, parsed.words)
    return report(context, context.engine.secrets.remove_many(parsed.words, all=parsed.all, ignore=parsed.ignore))
