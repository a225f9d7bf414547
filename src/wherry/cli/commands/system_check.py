"""`system check`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("quiet", "q", "bool", help="Print only what is found"),
    Option("repair", kind="bool", help="Mend what is found"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 0)
    found = context.engine.system.check(repair=parsed.repair)
    for finding in found:
        context.out(
            f"{finding.object}: {finding.problem}; --repair {finding.remedy}\n"
            if not parsed.repair
            else f"{finding.object}: {finding.problem}: {finding.remedy}\n"
        )
    if not found and not parsed.quiet:
        context.out("the store is sound\n")
    return 1 if found and not parsed.repair else 0
