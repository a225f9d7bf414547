"""`create`."""

from __future__ import annotations

from wherry.cli import create_options
from wherry.cli.options import parse
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
OPTIONS = create_options.OPTIONS


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, interspersed=False, later=create_options.LATER)
    if not parsed.words:
        raise UsageError(f"'{context.path}' requires at least 1 argument")
    result = context.engine.containers.create(create_options.request(parsed, detach=False))
    context.out(result.id + "\n")
    return 0
