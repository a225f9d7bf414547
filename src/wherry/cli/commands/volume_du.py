"""`volume du`."""

from __future__ import annotations

from wherry.cli.options import Option, parse
from wherry.cli.output import table
from wherry.model import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] [VOLUME...]"
OPTIONS = (Option("bytes", "b", "bool", help="Print plain numbers of bytes"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    rows = [["VOLUME NAME", "ON DISK", "APPARENT", "ENTRIES"]]
    for name, used, apparent, entries in context.engine.volumes.disk_usage(parsed.words):
        shown = [str(n) if parsed.bytes else sizes.human(n) for n in (used, apparent)]
        rows.append([name, *shown, str(entries)])
    context.out(table(rows))
    return 0
