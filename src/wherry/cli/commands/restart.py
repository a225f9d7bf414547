"""`restart`."""

from __future__ import annotations

from wherry.cli.commands.several import ALL, CIDFILE, FILTER, LATEST, chosen, report
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (
    ALL.replace(help="Restart all containers, whatever their state"),
    CIDFILE,
    FILTER.replace(short="f"),
    LATEST,
    Option("running", kind="bool", help="Restart all containers that run"),
    Option("signal", "s", help="Signal to send to the container"),
    Option("timeout", "t", "int", None, help="Seconds to wait before killing the container (-1: for ever)"),
    Option("time", kind="int", default=None, hidden=True),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="restart")
    names = chosen(context, parsed)
    timeout_s = parsed.timeout if parsed.timeout is not None else parsed.time
    return report(context, context.engine.containers.restart_many(names, timeout_s=timeout_s, signal=parsed.signal))
