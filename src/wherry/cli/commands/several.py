"""What commands over several containers share: print the names that went well, the errors of the others, end with 1 if there was one."""

from __future__ import annotations

from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.cli.context import Context
    from wherry.errors import WherryError


def needs_names(context: Context, words: list[str]) -> None:
    if not words:
        raise UsageError(f"'{context.path}' requires at least 1 argument")


def needs_exactly(context: Context, words: list[str], count: int) -> None:
    if len(words) != count:
        raise UsageError(f"'{context.path}' requires {count} argument{'s' if count != 1 else ''}")


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
