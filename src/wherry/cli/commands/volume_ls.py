"""`volume ls`."""

from __future__ import annotations

import time

from wherry.cli.commands import filters
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.cli.output import table
from wherry.model import duration, sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context
    from wherry.model.volume import VolumeSummary

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("filter", "f", "list", check=filters.check, help='Provide filter values (e.g. "dangling=true")'),
    Option("format", help="Format output using a Go template, 'table', 'table TEMPLATE' or 'json'"),
    Option("quiet", "q", "bool", help="Only display volume names"),
    Option("size", "s", "bool", help="Display what each volume takes, when it was used last, and by how many containers"),
)
_HEADERS = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Size": "SIZE",
    "LastUsed": "LAST USED",
    "Containers": "CONTAINERS",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Status": "STATUS",
}


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="volume_ls")
    needs_exactly(context, parsed.words, 0)
    wants_size = parsed.size or ".Size" in parsed.format
    found = context.engine.volumes.list(filters.parsed(parsed.filter), size=wants_size)
    if parsed.quiet and parsed.format in ("", "table"):
        context.out("".join(v.name + "\n" for v in found))
        return 0
    rows = [_row(volume, wants_size) for volume in found]
    if parsed.format and parsed.format != "table":
        from wherry.cli.template import list_output

        context.out(list_output(parsed.format, _HEADERS, rows))
        return 0
    keys = list(_HEADERS)[: 5 if parsed.size else 2]
    context.out(table([[_HEADERS[k] for k in keys], *([row[k] for k in keys] for row in rows)]))
    return 0


def _row(volume: VolumeSummary, wants_size: bool) -> dict[str, str]:
    used = volume.used_ns
    return {
        "Driver": volume.driver,
        "Name": volume.name,
        "Size": sizes.human(volume.size_bytes, precision=3) if wants_size and volume.size_bytes >= 0 else "N/A",
        "LastUsed": duration.human(max(0, time.time_ns() - used)) + " ago" if used else "never",
        "Containers": str(len(volume.containers)),
        "Scope": "local",
        "Mountpoint": volume.mountpoint,
        "Labels": ",".join(f"{k}={v}" for k, v in volume.labels.items()),
        "Links": str(len(volume.containers)) if wants_size else "N/A",
        "Availability": "N/A",
        "Group": "N/A",
        "Status": "N/A",
    }
