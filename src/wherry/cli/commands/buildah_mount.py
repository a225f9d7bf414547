"""`buildah mount`."""

from __future__ import annotations

from wherry.cli.options import Option, parse
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] [CONTAINER...]"
OPTIONS = (
    Option("json", kind="bool", help="Print as JSON"),
    Option("notruncate", kind="bool", hidden=True),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    from wherry.engine import working

    code = 0
    found: list[tuple[str, str]] = []
    if not parsed.words:
        every = [working.Working(context.engine, summary.id) for summary in working.everything(context.engine)]
        found = [(one.row.name, one.mount_point) for one in every if one.mounted]
    for name in parsed.words:
        try:
            found.append((name, working.Working(context.engine, name).mount()))
        except WherryError as error:
            context.fail(error)
            code = 125
    if parsed.json:
        from wherry.model import jsontext

        context.out(jsontext.dumps([{"container": name, "mountPoint": path} for name, path in found], indent=4) + "\n")
    elif len(parsed.words) == 1:
        context.out("".join(path + "\n" for _name, path in found))
    else:
        context.out("".join(f"{name} {path}\n" for name, path in found))
    return code
