"""`rmi`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] IMAGE [IMAGE...]"
OPTIONS = (
    Option("force", "f", "bool", help="Force removal of the image"),
    Option("no-prune", kind="bool", help="Do not delete untagged parents (there are none)"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="rmi")
    needs_names(context, parsed.words)
    code = 0
    for name in parsed.words:
        try:
            done = context.engine.images.remove(name, force=parsed.force)
        except WherryError as error:
            context.fail(error)
            # docker: with --force a missing image is said, and no failure.
            code = code if parsed.force and error.id == "not-found" else 1
            continue
        context.out("".join(f"{what}: {name}\n" for what, name in done))
    return code
