"""`container cleanup`: what a monitor calls at the end of a `--rm` container that no client watches."""

from __future__ import annotations

from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[CONTAINER...]"
OPTIONS: tuple[Option, ...] = ()


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    context.engine.containers.cleanup(parsed.words[0] if parsed.words else "")
    return 0
