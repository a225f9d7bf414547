"""`builder du`."""

from __future__ import annotations

from wherry.cli import output
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.model import duration, sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (Option("verbose", kind="bool", help="Provide a more verbose output"),)


def run(context: Context, words: list[str]) -> int:
    import time

    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 0)
    usage = context.engine.build.usage()
    now = time.time_ns()
    if parsed.verbose:
        for step in usage.steps:
            context.out(
                f"ID:\t\t{step.key[:25]}\nReclaimable:\t{str(not step.shared).lower()}\nShared:\t\t{str(step.shared).lower()}\n"
                f"Size:\t\t{sizes.human(step.size_bytes)}\nDescription:\t{step.text}\nUsage count:\t{step.uses}\n"
                f"Last used:\t{duration.human(now - step.used_ns)} ago\n\n"
            )
    else:
        rows = [("ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED")]
        for step in usage.steps:
            shared = "*" if step.shared else ""
            rows.append(
                (
                    step.key[:25] + shared,
                    str(not step.shared).lower(),
                    sizes.human(step.size_bytes) + shared,
                    f"{duration.human(now - step.used_ns)} ago",
                )
            )
        context.out(output.table(rows))
    context.out(f"Reclaimable:\t{sizes.human(usage.reclaimable_bytes)}\nTotal:\t\t{sizes.human(usage.total_bytes)}\n")
    return 0
