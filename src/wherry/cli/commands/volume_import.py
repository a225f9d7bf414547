"""`volume import`."""

from __future__ import annotations

import os

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "VOLUME FILE|-"
OPTIONS: tuple[Option, ...] = ()


class _Refused(WherryError):
    daemon = False


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 2)
    name, path = parsed.words
    if path == "-":
        if os.isatty(0):
            raise _Refused("cowardly refusing to read a tar archive from a terminal. Redirect it, or name a file")
    elif os.path.isdir(path):
        raise _Refused(f"{path} is a folder", hint="pipe it: tar -C FOLDER -c . | wherry volume import VOLUME -")
    context.engine.volumes.import_(name, 0 if path == "-" else path)
    return 0
