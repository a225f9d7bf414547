"""`rm`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names, report
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.cli.context import Context
    from wherry.errors import WherryError

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (
    Option("force", "f", "bool", help="Force the removal of a running container (uses SIGKILL)"),
    Option("volumes", "v", "bool", help="Remove anonymous volumes associated with the container"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="rm")
    needs_names(context, parsed.words)
    outcomes = context.engine.containers.remove_many(parsed.words, force=parsed.force, volumes=parsed.volumes)
    return _forced(context, outcomes) if parsed.force else report(context, outcomes)


def _forced(context: Context, outcomes: Iterable[tuple[str, WherryError | None]]) -> int:
    """With --force a container that is not there is said and no failure: docker's rule since 20.10."""
    code = 0
    for name, error in outcomes:
        if error is None:
            context.out(name + "\n")
            continue
        context.fail(error)
        if error.id != "not-found":
            code = 1
    return code
