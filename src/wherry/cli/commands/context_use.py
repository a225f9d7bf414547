"""`context use`: `default` is the only one."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "CONTEXT"
OPTIONS: tuple[Option, ...] = ()


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 1)
    known(parsed.words[0])
    context.out("default\n")
    return 0


def known(name: str) -> None:
    if name != "default":
        raise NotFound(f'context "{name}": context not found', hint="wherry works in-process: `default` is the only one")
