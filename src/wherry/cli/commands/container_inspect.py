"""`container inspect`."""

from __future__ import annotations

from wherry.cli.commands import documents
from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (
    Option("format", "f", help="Format output using a Go template, or 'json'"),
    Option("size", "s", "bool", help="Display total file sizes"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="container_inspect")
    needs_names(context, parsed.words)
    get = context.engine.containers.inspect
    return documents.show(
        context, parsed.words, parsed.format, lambda name: get(name, parsed.size), "Error response from daemon: No such container: {}"
    )
