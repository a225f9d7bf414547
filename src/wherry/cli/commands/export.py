"""`export`."""

from __future__ import annotations

import os

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER"
OPTIONS = (Option("output", "o", help="Write to a file, instead of STDOUT"),)


class _Refused(WherryError):
    daemon = False


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 1)
    if not parsed.output and os.isatty(1):
        raise _Refused("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    context.engine.containers.export(parsed.words[0], parsed.output or 1)
    return 0
