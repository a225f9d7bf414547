"""`manifest rm`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.engine import manifest
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "MANIFEST_LIST [MANIFEST_LIST...]"
OPTIONS: tuple[Option, ...] = ()


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_names(context, parsed.words)
    code = 0
    for name in parsed.words:
        try:
            manifest.drop(context.engine.store, name)
        except WherryError as error:
            context.fail(error)
            code = 1
    return code
