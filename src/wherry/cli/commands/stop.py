"""`stop`."""

from __future__ import annotations

from wherry.cli.commands.several import ALL, CIDFILE, FILTER, IGNORE, LATEST, chosen, outcomes_of, report
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (
    ALL.replace(help="Stop all containers that run"),
    CIDFILE,
    FILTER.replace(short="f"),
    IGNORE,
    LATEST,
    Option("signal", "s", help="Signal to send to the container"),
    Option("timeout", "t", "int", None, help="Seconds to wait before killing the container (-1: for ever)"),
    Option("time", kind="int", default=None, hidden=True),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="stop")
    names = chosen(context, parsed, ("running", "paused", "restarting"))
    timeout_s = parsed.timeout if parsed.timeout is not None else parsed.time
    outcomes = context.engine.containers.stop_many(names, timeout_s=timeout_s, signal=parsed.signal)
    return report(context, outcomes_of(parsed, outcomes))
