"""`image unmount`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] IMAGE [IMAGE...]"
OPTIONS = (
    Option("all", "a", "bool", help="Unmount all images"),
    Option("force", "f", "bool", help="Also when it is in use (always)", hidden=True),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    from wherry.engine import image_tree

    names = [image_id for image_id, _path in image_tree.mounted(context.engine)] if parsed.all else parsed.words
    if not parsed.all:
        needs_names(context, names)
    code = 0
    for name in names:
        try:
            context.out(image_tree.unmount(context.engine, name).removeprefix("sha256:") + "\n")
        except WherryError as error:
            context.fail(error)
            code = 1
    return code
