"""`volume inspect`."""

from __future__ import annotations

from wherry.cli.commands import documents
from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] VOLUME [VOLUME...]"
OPTIONS = (
    Option("format", "f", help="Format output using a Go template, or 'json'"),
    Option("size", "s", "bool", help="Measure the volume"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="volume_inspect")
    needs_names(context, parsed.words)
    volumes = context.engine.volumes
    missing = "Error response from daemon: get {}: no such volume"
    return documents.show(context, parsed.words, parsed.format, lambda name: volumes.inspect(name, size=parsed.size), missing)
