"""`buildah rename`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "CONTAINER NEW_NAME"
OPTIONS = ()


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 2)
    from wherry.engine.working import Working

    context.engine.containers.rename(Working(context.engine, parsed.words[0]).row.id, parsed.words[1])
    return 0
