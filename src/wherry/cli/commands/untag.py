"""`untag`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "IMAGE [NAME...]"
OPTIONS: tuple[Option, ...] = ()


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_names(context, parsed.words)
    context.engine.images.untag(parsed.words[0], *parsed.words[1:])
    return 0
