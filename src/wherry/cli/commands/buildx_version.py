"""`buildx version`."""

from __future__ import annotations

from wherry.cli.options import parse
from wherry.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context
    from wherry.cli.options import Option

USAGE = ""
OPTIONS: tuple[Option, ...] = ()


def run(context: Context, words: list[str]) -> int:
    parse(OPTIONS, words)
    context.out(f"wherry {VERSION}\n")
    return 0
