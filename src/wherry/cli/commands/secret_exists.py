"""`secret exists`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "SECRET"
OPTIONS: tuple[Option, ...] = ()


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 1)
    return 0 if context.engine.secrets.exists(parsed.words[0]) else 1
