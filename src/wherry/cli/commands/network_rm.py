"""`network rm`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names, report
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "NETWORK [NETWORK...]"
OPTIONS = (Option("force", "f", "bool", help="Do not error if the network does not exist"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="network_rm")
    needs_names(context, parsed.words)
    return report(context, context.engine.networks.remove_many(parsed.words, force=parsed.force))
