"""`update`."""

from __future__ import annotations

from wherry.cli import limit_options
from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.errors import UsageError, WherryError
from wherry.model import restart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (*limit_options.CHANGEABLE, Option("restart", help="Restart policy to apply when a container exits"))


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="update")
    needs_names(context, parsed.words)
    if not parsed.given:
        raise UsageError("you must provide one or more flags when using this command")
    changes = limit_options.changes(parsed)
    policy = restart.parse(parsed.restart) if "restart" in parsed.given else None
    code = 0
    for name in parsed.words:
        try:
            for text in context.engine.containers.update(name, changes, restart=policy):
                context.warn(text)
        except WherryError as error:
            context.fail(error)
            code = 1
        else:
            context.out(name + "\n")
    return code
