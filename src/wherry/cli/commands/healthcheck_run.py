"""`healthcheck run`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "CONTAINER"
OPTIONS: tuple[Option, ...] = (Option("ignore-result", kind="bool", help="Exit with 0 even if the check fails"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 1)
    if context.engine.containers.healthcheck(parsed.words[0]) or parsed.ignore_result:
        return 0
    context.out("unhealthy\n")
    return 1
