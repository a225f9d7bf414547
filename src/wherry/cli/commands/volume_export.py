"""`volume export`."""

from __future__ import annotations

import os

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] VOLUME"
OPTIONS = (Option("output", "o", help="Write to a file, instead of STDOUT"),)


class _Refused(WherryError):
    daemon = False


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 1)
    if not parsed.output or parsed.output == "-":
        if os.isatty(1):
            raise _Refused("cowardly refusing to write a tar archive to a terminal. Use the -o flag or redirect")
        context.engine.volumes.export(parsed.words[0], 1)
        return 0
    fresh = f"{parsed.output}.{os.getpid()}"
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _Refused(f"open {parsed.output}: {os.strerror(error.errno or 0).lower()}") from error
    try:
        context.engine.volumes.export(parsed.words[0], fd)
        os.fsync(fd)
        os.rename(fresh, parsed.output)
    except BaseException:
        os.unlink(fresh)
        raise
    finally:
        os.close(fd)
    return 0
