"""`kill`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names, report
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (Option("signal", "s", help="Signal to send to the container (default KILL)"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="kill")
    needs_names(context, parsed.words)
    return report(context, context.engine.containers.kill_many(parsed.words, signal=parsed.signal or "KILL"))
