"""`logs`."""

from __future__ import annotations

import time

from wherry.cli.commands.several import needs_exactly
from wherry.cli.context import write
from wherry.cli.options import Option, parse
from wherry.errors import UsageError
from wherry.model import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER"
OPTIONS = (
    Option("details", kind="bool", help="Show extra details provided to logs"),
    Option("follow", "f", "bool", help="Follow log output"),
    Option("since", help='Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")'),
    Option("tail", "n", default="all", help="Number of lines to show from the end of the logs"),
    Option("timestamps", "t", "bool", help="Show timestamps"),
    Option("until", help='Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")'),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="logs")
    needs_exactly(context, parsed.words, 1)
    now = time.time_ns()
    pieces = context.engine.containers.logs(
        parsed.words[0],
        follow=parsed.follow,
        since_ns=times.parse_since(parsed.since, now) if parsed.since else None,
        until_ns=times.parse_since(parsed.until, now) if parsed.until else None,
        tail=_tail(parsed.tail),
        timestamps=parsed.timestamps,
        details=parsed.details,
    )
    for stream, data in pieces:
        write(2 if stream == "stderr" else 1, data)
    return 0


def _tail(text: str) -> int:
    if text == "all":
        return -1
    try:
        # Go's parser reads "-5" as a number, too; docker then shows all.
        return max(int(text), -1)
    except ValueError:
        raise UsageError(f"invalid argument {text!r} for --tail: it must be a number or 'all'") from None
