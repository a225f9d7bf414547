"""`volume clone`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "VOLUME NEW_VOLUME"
OPTIONS: tuple[Option, ...] = ()


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 2)
    context.engine.volumes.clone(*parsed.words)
    context.out(parsed.words[1] + "\n")
    return 0
