"""`network reload`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = ""
OPTIONS = ()


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="network_reload")
    needs_exactly(context, parsed.words, 0)
    context.engine.networks.reload()
    return 0
