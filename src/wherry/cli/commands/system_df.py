"""`system df`."""

from __future__ import annotations

import time

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.cli.output import ellipsis, short_id, table
from wherry.model import duration, sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.context import Context

USAGE = "[OPTIONS]"
OPTIONS = (
    Option("format", help="Format output using a Go template, or 'json'"),
    Option("verbose", "v", "bool", help="Show detailed information on space usage"),
)
_HEADERS = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}
_TITLES = {"Images": "Images", "Containers": "Containers", "LocalVolumes": "Local Volumes", "BuildCache": "Build Cache"}


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 0)
    report = context.engine.system.df(parsed.verbose)
    if parsed.verbose:
        context.out(_verbose(report))
        return 0
    rows = [_fields(title, report[key]) for key, title in _TITLES.items()]
    if parsed.format and parsed.format != "table":
        from wherry.cli.template import list_output

        context.out(list_output(parsed.format, _HEADERS, rows))
        return 0
    context.out(table([list(_HEADERS.values()), *([row[k] for k in _HEADERS] for row in rows)]))
    return 0


def _fields(title: str, part: dict[str, Any]) -> dict[str, str]:
    size, free = part["SizeBytes"], part["ReclaimableBytes"]
    share = f" ({free * 100 // size}%)" if size and title != "Build Cache" else ""
    return {
        "Type": title,
        "TotalCount": str(part["TotalCount"]),
        "Active": str(part["Active"]),
        "Size": sizes.human(size),
        "Reclaimable": sizes.human(free) + share,
    }


def _verbose(report: dict[str, Any]) -> str:
    images = [["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"]]
    for image in report["Images"]["Items"]:
        for name in image.repo_tags or ("<none>:<none>",):
            repository, _, tag = name.rpartition(":")
            row = [repository, tag, short_id(image.id), _since(image.created_ns), sizes.human(image.size_bytes, precision=3)]
            images.append([*row, "N/A", "N/A", str(image.containers)])
    containers = [["CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"]]
    for found in report["Containers"]["Items"]:
        command = f'"{ellipsis(found.command, 20)}"'
        size = sizes.human(max(0, found.size_rw), precision=3)
        row = [found.id[:12], found.image, command, str(found.local_volumes), size, _since(found.created_ns)]
        containers.append([*row, found.status_text, ",".join(found.names)])
    volumes = [["VOLUME NAME", "LINKS", "SIZE"]]
    for volume in report["LocalVolumes"]["Items"]:
        volumes.append([volume.name, str(len(volume.containers)), sizes.human(max(0, volume.size_bytes), precision=3)])
    parts = (("Images", images), ("Containers", containers), ("Local Volumes", volumes))
    return "\n".join(f"{title} space usage:\n\n{table(rows)}" for title, rows in parts)


def _since(created_ns: int) -> str:
    return duration.human(max(0, time.time_ns() - created_ns)) + " ago" if created_ns else "N/A"
