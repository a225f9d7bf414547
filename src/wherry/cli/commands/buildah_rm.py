"""`buildah rm`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (Option("all", "a", "bool", help="Remove all working containers"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    from wherry.engine import working

    names = [s.id for s in working.everything(context.engine)] if parsed.all else parsed.words
    if not parsed.all:
        needs_names(context, names)
    code = 0
    for name in names:
        try:
            context.out(working.remove(context.engine, name) + "\n")
        except WherryError as error:
            context.fail(error)
            code = 125
    return code
