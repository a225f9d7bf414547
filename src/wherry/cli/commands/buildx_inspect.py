"""`buildx inspect`."""

from __future__ import annotations

from wherry.cli.options import Option, parse
from wherry.errors import NotFound
from wherry.model import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[NAME]"
OPTIONS = (Option("bootstrap", kind="bool", help="There is nothing to be started"),)


def run(context: Context, words: list[str]) -> int:
    names = parse(OPTIONS, words).words
    if names and names != ["default"]:
        raise NotFound(f'no builder "{names[0]}" found', hint="there is one builder: default")
    context.out(
        "Name:   default\nDriver: wherry\n\nNodes:\nName:      default\nEndpoint:  default\nStatus:    running\n"
        f"Platforms: {platform.host()}\n"
    )
    return 0
