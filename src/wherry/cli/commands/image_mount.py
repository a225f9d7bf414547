"""`image mount`."""

from __future__ import annotations

from wherry.cli.options import Option, parse
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] [IMAGE...]"
OPTIONS = (
    Option("all", "a", "bool", help="Mount all images"),
    Option("format", help='"json" for a list of objects'),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    if parsed.format not in ("", "json"):
        raise UsageError(f"--format {parsed.format}: only json is known")
    from wherry.engine import image_tree

    names = [image.id for image in context.engine.images.list()] if parsed.all else parsed.words
    found = [(name, image_tree.mount(context.engine, name)) for name in names] if names else image_tree.mounted(context.engine)
    if parsed.format:
        from wherry.model import jsontext

        context.out(jsontext.dumps([{"id": name, "mountpoint": path} for name, path in found], indent=4) + "\n")
    elif len(names) == 1 and not parsed.all:
        context.out(found[0][1] + "\n")
    else:
        context.out("".join(f"{name} {path}\n" for name, path in found))
    return 0
