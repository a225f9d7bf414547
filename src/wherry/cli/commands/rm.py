"""`rm`."""

from __future__ import annotations

from wherry.cli.commands.several import ALL, CIDFILE, FILTER, IGNORE, LATEST, chosen, outcomes_of, report
from wherry.cli.options import Option, parse
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.cli.context import Context
    from wherry.errors import WherryError

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (
    ALL.replace(help="Remove all containers"),
    CIDFILE,
    FILTER,
    Option("force", "f", "bool", help="Force the removal of a running container (uses SIGKILL)"),
    IGNORE,
    LATEST,
    Option("time", "t", "int", None, help="With --force: seconds for the container to stop before it is killed"),
    Option("volumes", "v", "bool", help="Remove anonymous volumes associated with the container"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="rm")
    names = chosen(context, parsed)
    if parsed.time is not None:
        if not parsed.force:
            raise UsageError("--force option must be specified to use the --time option")
        for _stopped in context.engine.containers.stop_many(names, timeout_s=parsed.time):
            continue  # what fails here fails at the removal, too, and is said there
    outcomes = context.engine.containers.remove_many(names, force=parsed.force, volumes=parsed.volumes)
    return _forced(context, outcomes) if parsed.force and not parsed.ignore else report(context, outcomes_of(parsed, outcomes))


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
