"""`unpause`."""

from __future__ import annotations

from wherry.cli.commands.several import ALL, CIDFILE, FILTER, LATEST, chosen, report
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "CONTAINER [CONTAINER...]"
OPTIONS: tuple[Option, ...] = (ALL, CIDFILE, FILTER.replace(short="f"), LATEST)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="unpause")
    names = chosen(context, parsed, ("paused",))
    return report(context, context.engine.containers.unpause_many(names))
