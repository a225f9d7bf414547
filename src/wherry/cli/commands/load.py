"""`load`."""

from __future__ import annotations

import os

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("input", "i", help="Read from tar archive file or folder, instead of STDIN"),
    Option("platform", help="Load only the given platform"),
    Option("quiet", "q", "bool", help="Suppress the load output"),
)


def readable(path: str) -> None:
    """docker's client opens the file, so its error is not the daemon's. Raises UsageError."""
    try:
        os.stat(path)
    except OSError as error:
        raise UsageError(f"open {path}: {os.strerror(error.errno or 0).lower()}") from None


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="load")
    needs_exactly(context, parsed.words, 0)
    if parsed.input:
        readable(parsed.input)
    elif os.isatty(0):
        raise UsageError("requested load from stdin, but stdin is empty")
    show = os.isatty(2) and not parsed.quiet
    lines = context.engine.images.load(parsed.input or 0, platform=parsed.platform, progress=context.error if show else None)
    context.out("".join(line + "\n" for line in lines))
    return 0
