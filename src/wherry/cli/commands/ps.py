"""`ps`."""

from __future__ import annotations

import time

from wherry.cli.commands import filters
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.cli.output import ellipsis, table
from wherry.errors import UsageError
from wherry.model import duration, sizes, times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.context import Context
    from wherry.model.container import ContainerSummary

_ORDERS = ("command", "created", "id", "image", "names", "runningfor", "size", "status")


def _sorting(text: str) -> str:
    if text.lower() not in _ORDERS:
        raise UsageError(f"invalid option for sort: {text}; use one of {', '.join(_ORDERS)}")
    return text.lower()


USAGE = "[OPTIONS]"
OPTIONS = (
    Option("all", "a", "bool", help="Show all containers (default shows just running)"),
    Option("filter", "f", "list", check=filters.check, help="Filter output based on conditions provided"),
    Option("format", help="Format output using a Go template, 'table', 'table TEMPLATE' or 'json'"),
    Option("last", "n", "int", -1, help="Show n last created containers (includes all states)"),
    Option("latest", "l", "bool", help="Show the latest created container (includes all states)"),
    Option("external", kind="bool", hidden=True),
    Option("noheading", kind="bool", help="Leave the line of headers out"),
    Option("no-trunc", kind="bool", help="Don't truncate output"),
    Option("quiet", "q", "bool", help="Only display container IDs"),
    Option("sort", check=_sorting, help="Sort by command, created, id, image, names, runningfor, size or status"),
    Option("size", "s", "bool", help="Display total file sizes"),
)
_HEADERS: dict[str, Any] = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Label": lambda key: key.rpartition(".")[2].replace("-", " ").replace("_", " "),
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
    "HealthStatus": "HEALTH STATUS",
}

# docker's `--format raw`.
_RAW = (
    "container_id: {{.ID}}\\nimage: {{.Image}}\\ncommand: {{.Command}}\\ncreated_at: {{.CreatedAt}}\\nstate: {{- pad .State 1 0}}\\n"
    "status: {{- pad .Status 1 0}}\\nnames: {{.Names}}\\nlabels: {{- pad .Labels 1 0}}\\nports: {{- pad .Ports 1 0}}\\n"
)
_RAW_QUIET = "container_id: {{.ID}}"


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="ps")
    needs_exactly(context, parsed.words, 0)
    last = 1 if parsed.latest else parsed.last
    sized = parsed.size or parsed.sort == "size" or "{{.Size" in parsed.format.replace(" ", "")
    found = context.engine.containers.list(all=parsed.all, last=last, filters=filters.parsed(parsed.filter), size=sized)
    if parsed.sort:
        _sort(found, parsed.sort)
    if parsed.format and parsed.format != "table":
        from wherry.cli.template import list_output

        form = (_RAW_QUIET if parsed.quiet else _RAW) if parsed.format == "raw" else parsed.format
        text = list_output(form, _HEADERS, [_fields(s, parsed.no_trunc) for s in found])
        context.out(text.partition("\n")[2] if parsed.noheading and form.startswith("table") else text)
    elif parsed.quiet:
        context.out("".join((s.id if parsed.no_trunc else s.id[:12]) + "\n" for s in found))
    else:
        text = _table(found, parsed.no_trunc, parsed.size)
        context.out(text.partition("\n")[2] if parsed.noheading else text)
    return 0


def _sort(found: list[ContainerSummary], order: str) -> None:
    key: Any = {
        "command": lambda s: s.command,
        "created": lambda s: s.created_ns,
        "id": lambda s: s.id,
        "image": lambda s: s.image,
        "names": lambda s: s.names,
        "runningfor": lambda s: -s.created_ns,
        "size": lambda s: s.size_rw,
        "status": lambda s: s.status_text,
    }[order]
    found.sort(key=key)


def _table(found: list[ContainerSummary], whole: bool, sized: bool) -> str:
    keys = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", *(["Size"] if sized else [])]
    rows = [[_HEADERS[k] for k in keys]]
    for summary in found:
        fields = _fields(summary, whole)
        rows.append([fields[k] for k in keys])
    return table(rows)


def _fields(summary: ContainerSummary, whole: bool) -> dict[str, Any]:
    size = ""
    if summary.size_rw >= 0:
        size = sizes.human(summary.size_rw, precision=3)
        if summary.size_rootfs > 0:
            size += f" (virtual {sizes.human(summary.size_rootfs, precision=3)})"
    return {
        "ID": summary.id if whole else summary.id[:12],
        "Names": ",".join(summary.names),
        "Image": _image(summary, whole),
        "Command": f'"{summary.command if whole else ellipsis(summary.command, 20)}"',
        "CreatedAt": times.local_text(summary.created_ns),
        "RunningFor": duration.human(max(0, time.time_ns() - summary.created_ns)) + " ago",
        "Ports": summary.ports_text,
        "State": summary.state,
        "Status": summary.status_text,
        "Size": size or "0B",
        "Label": lambda key: summary.labels.get(key, ""),
        "Labels": ",".join(f"{k}={v}" for k, v in sorted(summary.labels.items())),
        "Mounts": ",".join(m if whole else ellipsis(m, 15) for m in summary.mounts),
        "LocalVolumes": str(summary.local_volumes),
        "Networks": ",".join(summary.networks),
        "Platform": "linux",
        "HealthStatus": summary.health,
    }


def _image(summary: ContainerSummary, whole: bool) -> str:
    """The name it was created by; the short id when that was an id."""
    name = summary.image
    hexadecimal = summary.image_id.removeprefix("sha256:")
    if hexadecimal.startswith(name.removeprefix("sha256:")):
        return hexadecimal if whole else hexadecimal[:12]
    return name.partition("@")[0]
