"""`wait`."""

from __future__ import annotations

from wherry.cli.commands.several import CIDFILE, IGNORE, LATEST, chosen
from wherry.cli.options import Option, parse
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "CONTAINER [CONTAINER...]"
OPTIONS = (
    CIDFILE,
    Option("condition", help="What to wait for: stopped, running, paused, healthy, unhealthy, next-exit or removed"),
    IGNORE.replace(short=""),
    Option("interval", "i", hidden=True),
    LATEST,
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="wait")
    names = chosen(context, parsed)
    code = 0
    for name in names:
        try:
            context.out(f"{context.engine.containers.wait(name, parsed.condition)}\n")
        except WherryError as error:
            if parsed.ignore and error.id == "not-found":
                context.out("-1\n")
                continue
            context.fail(error)
            code = 1
    return code
