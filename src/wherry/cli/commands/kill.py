"""`kill`."""

from __future__ import annotations

from wherry.cli.commands.several import ALL, CIDFILE, LATEST, chosen, report
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (
    ALL.replace(help="Signal all containers that run"),
    CIDFILE,
    LATEST,
    Option("signal", "s", help="Signal to send to the container (default KILL)"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="kill")
    names = chosen(context, parsed, ("running", "paused", "restarting"))
    return report(context, context.engine.containers.kill_many(names, signal=parsed.signal or "KILL"))
