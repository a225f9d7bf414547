"""`wait`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "CONTAINER [CONTAINER...]"
OPTIONS = (Option("condition", help="What to wait for: stopped, running, next-exit or removed"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="wait")
    needs_names(context, parsed.words)
    code = 0
    for name in parsed.words:
        try:
            context.out(f"{context.engine.containers.wait(name, parsed.condition)}\n")
        except WherryError as error:
            context.fail(error)
            code = 1
    return code
