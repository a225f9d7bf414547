"""`images`."""

from __future__ import annotations

import time

from wherry.cli.commands import filters
from wherry.cli.commands.several import needs_at_most
from wherry.cli.options import Option, parse
from wherry.cli.output import short_id, table
from wherry.model import duration, sizes, times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context
    from wherry.engine.images import ImageSummary

USAGE = "[OPTIONS] [REPOSITORY[:TAG]]"
OPTIONS = (
    Option("all", "a", "bool", help="Show all images (there are no intermediate ones)"),
    Option("digests", kind="bool", help="Show digests"),
    Option("filter", "f", "list", check=filters.check, help="Filter output based on conditions provided"),
    Option("format", help="Format output using a Go template, 'table', 'table TEMPLATE' or 'json'"),
    Option("no-trunc", kind="bool", help="Don't truncate output"),
    Option("quiet", "q", "bool", help="Only show image IDs"),
)
_HEADERS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "VirtualSize": "SIZE",
}

# docker's `--format raw`.
_RAW = "repository: {{.Repository}}\\ntag: {{.Tag}}\\nimage_id: {{.ID}}\\ncreated_at: {{.CreatedAt}}\\nvirtual_size: {{.Size}}\\n"
_RAW_QUIET = "image_id: {{.ID}}"


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="images")
    needs_at_most(context, parsed.words, 1)
    chosen = filters.parsed(parsed.filter)
    if parsed.words:
        chosen.setdefault("reference", []).append(parsed.words[0])
    found = context.engine.images.list(all=parsed.all, filters=chosen)
    if parsed.quiet and parsed.format in ("", "table"):
        ids = list(dict.fromkeys(s.id if parsed.no_trunc else short_id(s.id) for s in found))
        context.out("".join(i + "\n" for i in ids))
        return 0
    rows = [row for summary in found for row in _rows(summary, parsed.no_trunc, parsed.words[0] if parsed.words else "", chosen)]
    if parsed.format and parsed.format != "table":
        from wherry.cli.template import list_output

        form = (_RAW_QUIET if parsed.quiet else _RAW) if parsed.format == "raw" else parsed.format
        context.out(list_output(form, _HEADERS, rows))
        return 0
    keys = ["Repository", "Tag", *(["Digest"] if parsed.digests else []), "ID", "CreatedSince", "Size"]
    context.out(table([[_HEADERS[k] for k in keys], *([row[k] for k in keys] for row in rows)]))
    return 0


def _rows(summary: ImageSummary, whole: bool, wanted: str, chosen: dict[str, list[str]]) -> list[dict[str, str]]:
    """One for each tag; an image without any is <none>. With a repository given, only the tags that it means."""
    names = [n.rpartition(":")[::2] for n in summary.repo_tags] or [("<none>", "<none>")]
    if wanted and len(chosen["reference"]) == 1:
        matching = [(repository, tag) for repository, tag in names if _means(wanted, repository, tag)]
        names = matching or names
    digest = summary.repo_digests[0].partition("@")[2] if summary.repo_digests else "<none>"
    return [
        {
            "ID": summary.id if whole else short_id(summary.id),
            "Repository": repository,
            "Tag": tag,
            "Digest": digest,
            "CreatedSince": duration.human(max(0, time.time_ns() - summary.created_ns)) + " ago" if summary.created_ns else "N/A",
            "CreatedAt": times.local_text(summary.created_ns),
            "Size": sizes.human(summary.size_bytes, precision=3),
            "Containers": str(summary.containers) if summary.containers else "N/A",
            "SharedSize": "N/A",
            "UniqueSize": "N/A",
            "VirtualSize": sizes.human(summary.size_bytes, precision=3),
        }
        for repository, tag in names
    ]


def _means(wanted: str, repository: str, tag: str) -> bool:
    return wanted in (repository, f"{repository}:{tag}")
