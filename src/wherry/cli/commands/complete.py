"""`__complete`: for the shells' scripts; a line for each word that fits."""

from __future__ import annotations

from wherry.cli.complete import candidates
from wherry.cli.options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "WORD..."
OPTIONS: tuple[Option, ...] = ()


def run(context: Context, words: list[str]) -> int:
    context.out("".join(word + "\n" for word in candidates(context, words)))
    return 0
