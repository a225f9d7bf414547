"""`network ls`."""

from __future__ import annotations

from wherry.cli.commands import filters
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.cli.output import short_id, table
from wherry.model import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("filter", "f", "list", check=filters.check, help='Provide filter values (e.g. "driver=bridge")'),
    Option("format", help="Format output using a Go template, 'table', 'table TEMPLATE' or 'json'"),
    Option("no-trunc", kind="bool", help="Do not truncate the output"),
    Option("quiet", "q", "bool", help="Only display network IDs"),
)
_HEADERS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="network_ls")
    needs_exactly(context, parsed.words, 0)
    found = context.engine.networks.list(filters.parsed(parsed.filter))
    rows = [
        {
            "ID": s.id if parsed.no_trunc else short_id(s.id),
            "Name": s.name,
            "Driver": s.driver,
            "Scope": s.scope,
            "IPv4": "true",
            "IPv6": str(s.ipv6).lower(),
            "Internal": str(s.internal).lower(),
            "Labels": ",".join(f"{k}={v}" for k, v in sorted(s.labels.items())),
            "CreatedAt": times.local_text(s.created_ns),
        }
        for s in found
    ]
    if parsed.format and parsed.format != "table":
        from wherry.cli.template import list_output

        context.out(list_output(parsed.format, _HEADERS, rows))
    elif parsed.quiet:
        context.out("".join(row["ID"] + "\n" for row in rows))
    else:
        keys = ("ID", "Name", "Driver", "Scope")
        context.out(table([[_HEADERS[k] for k in keys], *([row[k] for k in keys] for row in rows)]))
    return 0
