"""`create`."""

from __future__ import annotations

from wherry.cli import create_options
from wherry.cli.commands.several import needs_names
from wherry.cli.options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
OPTIONS = create_options.OPTIONS


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, interspersed=False, later="create")
    needs_names(context, parsed.words)
    result = context.engine.containers.create(create_options.request(parsed, detach=False))
    context.out(result.id + "\n")
    return 0
