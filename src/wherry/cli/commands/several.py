"""What commands over several containers share: print the names that went well, the errors of the others, end with 1 if there was one."""

from __future__ import annotations

from wherry.cli.options import CountError, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.cli.context import Context
    from wherry.cli.options import Parsed
    from wherry.errors import WherryError


def _condition(text: str) -> str:
    from wherry.cli.commands import filters

    return filters.check(text)


ALL = Option("all", "a", "bool", help="All containers")
CIDFILE = Option("cidfile", kind="list", help="Read the container's ID from the file")
FILTER = Option("filter", kind="list", check=_condition, help="Those that the condition chooses, as in `ps`")
IGNORE = Option("ignore", "i", "bool", help="A container that is missing is no error")
LATEST = Option("latest", "l", "bool", help="The container that was created last")


def chosen(context: Context, parsed: Parsed, states: tuple[str, ...] = ()) -> list[str]:
    """The containers that a command is about. `states`: only those count for --all. Raises CountError, UsageError."""
    if parsed.words and not {"all", "latest", "filter", "cidfile", "running"} & parsed.given:
        return parsed.words
    from wherry.cli.commands import selection

    return selection.names(context, parsed, states)


def outcomes_of(parsed: Parsed, outcomes: Iterable[tuple[str, WherryError | None]]) -> Iterable[tuple[str, WherryError | None]]:
    """The outcomes, with --ignore without those of containers that are missing."""
    if not parsed.ignore:
        return outcomes
    from wherry.cli.commands import selection

    return selection.without_missing(outcomes)


def needs_names(context: Context, words: list[str], least: int = 1) -> None:
    if len(words) < least:
        raise CountError(f"requires at least {_arguments(least)}")


def needs_exactly(context: Context, words: list[str], count: int) -> None:
    if len(words) != count:
        raise CountError(f"requires {_arguments(count)}" if count else "accepts no arguments")


def needs_at_most(context: Context, words: list[str], most: int) -> None:
    if len(words) > most:
        raise CountError(f"requires at most {_arguments(most)}")


def _arguments(count: int) -> str:
    return f"{count} argument{'s' if count != 1 else ''}"


def report(context: Context, outcomes: Iterable[tuple[str, WherryError | None]]) -> int:
    """Print each name as it is done."""
    code = 0
    for name, error in outcomes:
        if error is None:
            context.out(name + "\n")
        else:
            context.fail(error)
            code = 1
    return code
