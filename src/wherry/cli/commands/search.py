"""`search`."""

from __future__ import annotations

from wherry.cli.commands import filters, transfer_options
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.cli.output import ellipsis, table
from wherry.engine import registry
from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context
    from wherry.engine.registry import SearchResult

USAGE = "[OPTIONS] TERM"
OPTIONS = (
    *transfer_options.OPTIONS,
    Option("compatible", kind="bool", help="Not used: the output is docker's", hidden=True),
    Option("filter", "f", "list", check=filters.check, help="Filter output based on conditions provided"),
    Option("format", help="Pretty-print search using a Go template"),
    Option("limit", kind="int", default=25, help="Max number of search results"),
    Option("list-tags", kind="bool", help="List the tags of a repository"),
    Option("no-trunc", kind="bool", help="Don't truncate output"),
)
_HEADERS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
    "Tag": "TAG",
}


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 1)
    if not 1 <= parsed.limit <= 100:
        raise InvalidArgument(f"Limit {parsed.limit} is outside the range of [1, 100]")
    access = transfer_options.access(parsed)
    if parsed.list_tags:
        tags = registry.tags(parsed.words[0], access)[: parsed.limit]
        rows = [{"Name": parsed.words[0], "Tag": tag} for tag in tags]
        keys = ["Name", "Tag"]
    else:
        chosen = filters.parsed(parsed.filter)
        found = [r for r in registry.search(parsed.words[0], parsed.limit, access) if _wanted(r, chosen)]
        rows = [_row(r, parsed.no_trunc) for r in found]
        keys = ["Name", "Description", "StarCount", "IsOfficial"]
    if parsed.format and parsed.format != "table":
        from wherry.cli.template import list_output

        context.out(list_output(parsed.format, _HEADERS, rows))
        return 0
    context.out(table([[_HEADERS[k] for k in keys], *([row[k] for k in keys] for row in rows)]))
    return 0


def _row(found: SearchResult, whole: bool) -> dict[str, str]:
    description = found.description.replace("\n", " ").replace("\r", " ")
    return {
        "Name": found.name,
        "Description": description if whole else ellipsis(description, 45),
        "StarCount": str(found.stars),
        "IsOfficial": "[OK]" if found.official else "",
        "IsAutomated": "[OK]" if found.automated else "",
    }


def _wanted(found: SearchResult, chosen: dict[str, list[str]]) -> bool:
    for key, values in chosen.items():
        if key == "stars":
            if not values[-1].isdigit():
                raise InvalidArgument(f"invalid filter 'stars=[{values[-1]}]'")
            if found.stars < int(values[-1]):
                return False
        elif key in ("is-official", "is-automated"):
            if (found.official if key == "is-official" else found.automated) != (values[-1] in ("true", "1")):
                return False
        else:
            raise InvalidArgument(f"invalid filter '{key}'")
    return True
