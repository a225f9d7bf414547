"""`top`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.cli.output import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "CONTAINER [ps OPTIONS]"
OPTIONS: tuple[Option, ...] = ()


def run(context: Context, words: list[str]) -> int:
    # What follows the container is for ps.
    parsed = parse(OPTIONS, words, interspersed=False, later="top")
    needs_names(context, parsed.words)
    found = context.engine.containers.top(parsed.words[0], parsed.words[1:])
    context.out(table([found.titles, *found.rows]))
    return 0
