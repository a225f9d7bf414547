"""`diff`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER"
OPTIONS = (Option("format", help='"json" for one object with the lists "added", "changed" and "deleted"'),)
_LISTS = {"C": "changed", "A": "added", "D": "deleted"}


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 1)
    if parsed.format not in ("", "json"):
        raise UsageError(f"--format {parsed.format}: only json is known")
    found = context.engine.containers.diff(parsed.words[0])
    if parsed.format:
        from wherry.model import jsontext

        lists: dict[str, list[str]] = {}
        for kind, name in _LISTS.items():
            paths = [change.path for change in found if change.kind == kind]
            if paths:
                lists[name] = paths
        context.out(jsontext.dumps(lists) + "\n")
        return 0
    context.out("".join(f"{change.kind} {change.path}\n" for change in found))
    return 0
