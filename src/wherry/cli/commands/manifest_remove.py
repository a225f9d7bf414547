"""`manifest remove`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.engine import manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "MANIFEST_LIST IMAGE"
OPTIONS: tuple[Option, ...] = ()


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 2)
    manifest.remove(context.engine.store, *parsed.words)
    return 0
