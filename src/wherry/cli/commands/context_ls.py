"""`context ls`: there is one, the process itself."""

from __future__ import annotations

from typing import Any

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.cli.output import table
from wherry.cli.template import list_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("format", help="Format output using a Go template, 'table', 'table TEMPLATE' or 'json'"),
    Option("quiet", "q", "bool", help="Only show context names"),
)
_HEADERS: dict[str, Any] = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "DockerEndpoint": "DOCKER ENDPOINT",
    "Error": "ERROR",
    "Current": "CURRENT",
}
ONLY: dict[str, Any] = {
    "Name": "default",
    "Description": "This process: there is no daemon",
    "DockerEndpoint": "",
    "Error": "",
    "Current": True,
}


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 0)
    if parsed.quiet:
        context.out("default\n")
    elif parsed.format and parsed.format != "table":
        context.out(list_output(parsed.format, _HEADERS, [dict(ONLY)]))
    else:
        shown = [_HEADERS[k] for k in ("Name", "Description", "DockerEndpoint", "Error")]
        context.out(table([shown, ["default *", ONLY["Description"], "", ""]]))
    return 0
