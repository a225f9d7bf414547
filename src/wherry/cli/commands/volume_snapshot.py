"""`volume snapshot`."""

from __future__ import annotations

import time

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import CountError, Option, parse
from wherry.cli.output import table
from wherry.model import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] VOLUME [NAME]"
OPTIONS = (Option("rm", kind="bool", help="Remove the snapshot of that name"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    volumes = context.engine.volumes
    if parsed.rm:
        needs_exactly(context, parsed.words, 2)
        volumes.remove_snapshot(*parsed.words)
    elif len(parsed.words) == 1:
        rows = [(name, duration.human(max(0, time.time_ns() - at)) + " ago") for name, at in volumes.snapshots(parsed.words[0])]
        context.out(table([("NAME", "CREATED"), *rows]))
        return 0
    elif len(parsed.words) == 2:
        volumes.snapshot(*parsed.words)
    else:
        raise CountError("requires 1 or 2 arguments")
    context.out(parsed.words[1] + "\n")
    return 0
