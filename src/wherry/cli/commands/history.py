"""`history`."""

from __future__ import annotations

import time

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.cli.output import ellipsis, short_id, table
from wherry.model import duration, sizes, times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context
    from wherry.engine.images import HistoryEntry

USAGE = "[OPTIONS] IMAGE"
OPTIONS = (
    Option("format", help="Format output using a Go template, 'table', 'table TEMPLATE' or 'json'"),
    Option("human", "H", "bool", True, help="Print sizes and dates in human readable format"),
    Option("no-trunc", kind="bool", help="Don't truncate output"),
    Option("quiet", "q", "bool", help="Only show image IDs"),
)
_HEADERS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="history")
    needs_exactly(context, parsed.words, 1)
    rows = [_fields(entry, parsed.no_trunc, parsed.human) for entry in context.engine.images.history(parsed.words[0])]
    if parsed.quiet:
        context.out("".join(row["ID"] + "\n" for row in rows))
    elif parsed.format and parsed.format != "table":
        from wherry.cli.template import list_output

        context.out(list_output(parsed.format, _HEADERS, rows))
    else:
        keys = ["ID", "CreatedSince" if parsed.human else "CreatedAt", "CreatedBy", "Size", "Comment"]
        context.out(table([[_HEADERS[k] for k in keys], *([row[k] for k in keys] for row in rows)]))
    return 0


def _fields(entry: HistoryEntry, whole: bool, human: bool) -> dict[str, str]:
    created_by = entry.created_by.replace("\t", " ")
    created = times.format_ns(entry.created_ns // times.NS * times.NS) if entry.created_ns else "N/A"
    return {
        "ID": entry.id if whole else short_id(entry.id),
        "CreatedSince": (duration.human(max(0, time.time_ns() - entry.created_ns)) + " ago" if entry.created_ns else "N/A")
        if human
        else created,
        "CreatedAt": created,
        "CreatedBy": created_by if whole else ellipsis(created_by, 45),
        "Size": sizes.human(entry.size_bytes, precision=3) if human else str(entry.size_bytes),
        "Comment": entry.comment,
    }
