"""What commands over several containers share: print the names that went well, the errors of the others, end with 1 if there was one."""

from __future__ import annotations

from wherry.cli.options import CountError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.cli.context import Context
    from wherry.errors import WherryError


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
