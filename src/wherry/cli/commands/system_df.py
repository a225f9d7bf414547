"""`system df`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.cli.output import short_id, table
from wherry.model import sizes

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
    images = [["REPOSITORY", "TAG", "IMAGE ID", "SIZE", "CONTAINERS"]]
    for image in report["Images"]["Items"]:
        for name in image.repo_tags or ("<none>:<none>",):
            repository, _, tag = name.rpartition(":")
            images.append([repository, tag, short_id(image.id), sizes.human(image.size_bytes), str(image.containers)])
    containers = [["CONTAINER ID", "IMAGE", "COMMAND", "SIZE", "STATUS", "NAMES"]]
    for container in report["Containers"]["Items"]:
        containers.append(
            [
                container.id[:12],
                container.image,
                f'"{container.command[:20]}"',
                sizes.human(max(0, container.size_rw)),
                container.status_text,
                container.names[0],
            ]
        )
    return f"Images space usage:\n\n{table(images)}\nContainers space usage:\n\n{table(containers)}"
