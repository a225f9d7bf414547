"""`secret inspect`."""

from __future__ import annotations

from wherry.cli.commands import documents
from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] SECRET [SECRET...]"
OPTIONS = (Option("format", "f", help="Format output using a Go template, or 'json'"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="secret_inspect")
    needs_names(context, parsed.words)
    return documents.show(
        context, parsed.words, parsed.format, context.engine.secrets.inspect, "Error response from daemon: no such secret: {}"
    )
