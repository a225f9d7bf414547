"""`buildah manifest …`: the same as `manifest …`."""

from __future__ import annotations

import sys

from wherry.cli import table
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "COMMAND [OPTIONS] [ARG...]"
OPTIONS = ()


def run(context: Context, words: list[str]) -> int:
    path = f"manifest {words[0]}" if words else ""
    if path not in table.COMMANDS:
        raise UsageError(f"buildah manifest: unknown command: {words[0] if words else '(none)'}", hint="see `manifest --help`")
    module = "wherry.cli.commands." + table.COMMANDS[path][0]
    __import__(module)
    context.path = path
    return int(sys.modules[module].run(context, words[1:]))
