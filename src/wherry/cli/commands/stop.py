"""`stop`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names, report
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (
    Option("signal", "s", help="Signal to send to the container"),
    Option("timeout", "t", "int", None, help="Seconds to wait before killing the container (-1: for ever)"),
    Option("time", kind="int", default=None, hidden=True),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="stop")
    needs_names(context, parsed.words)
    timeout_s = parsed.timeout if parsed.timeout is not None else parsed.time
    return report(context, context.engine.containers.stop_many(parsed.words, timeout_s=timeout_s, signal=parsed.signal))
