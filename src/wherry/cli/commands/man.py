"""`man`: manual pages out of the command table."""

from __future__ import annotations

import os

from wherry.cli import manual
from wherry.cli.options import Option, parse
from wherry.errors import InvalidArgument, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] [COMMAND]"
OPTIONS = (Option("install", placeholder="folder", help="Write all pages into this folder, such as ~/.local/share/man/man1"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    if not parsed.install:
        path = " ".join(parsed.words)
        page = manual.page(path)
        if page is None:
            raise UsageError(f"{path}: no such command")
        context.out(page)
        return 0
    try:
        os.makedirs(parsed.install, exist_ok=True)
        for name, text in manual.pages():
            with open(os.path.join(parsed.install, name), "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise InvalidArgument(f"{parsed.install}: {os.strerror(error.errno or 0).lower()}") from error
    context.out(f"{parsed.install}\n")
    return 0
