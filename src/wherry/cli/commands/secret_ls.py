"""`secret ls`."""

from __future__ import annotations

import time

from wherry.cli.commands import filters
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.cli.output import table
from wherry.errors import UsageError
from wherry.model import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("filter", "f", "list", check=filters.check, help='Filter output based on conditions provided (e.g. "name=db")'),
    Option("format", help="Format output using a Go template, 'table', 'table TEMPLATE' or 'json'"),
    Option("quiet", "q", "bool", help="Only display IDs"),
)
_HEADERS = {"ID": "ID", "Name": "NAME", "Driver": "DRIVER", "CreatedAt": "CREATED", "UpdatedAt": "UPDATED"}


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="secret_ls")
    needs_exactly(context, parsed.words, 0)
    chosen = filters.parsed(parsed.filter)
    for key in chosen:
        if key not in ("name", "id"):
            raise UsageError(f"invalid filter '{key}'")
    found = [
        row
        for row in context.engine.secrets.list()
        if ("name" not in chosen or any(v in row.name for v in chosen["name"]))
        and ("id" not in chosen or any(row.id.startswith(v) for v in chosen["id"]))
    ]
    if parsed.quiet:
        context.out("".join(row.id + "\n" for row in found))
        return 0
    now = time.time_ns()
    rows = [
        {
            "ID": row.id,
            "Name": row.name,
            "Driver": "file",
            "CreatedAt": duration.human(max(0, now - row.created_ns)) + " ago",
            "UpdatedAt": duration.human(max(0, now - row.updated_ns)) + " ago",
        }
        for row in found
    ]
    if parsed.format and parsed.format != "table":
        from wherry.cli.template import list_output

        context.out(list_output(parsed.format, _HEADERS, rows))
        return 0
    context.out(table([list(_HEADERS.values()), *(list(row.values()) for row in rows)]))
    return 0
