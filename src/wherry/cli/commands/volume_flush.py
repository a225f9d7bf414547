"""`volume flush`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] VOLUME [VOLUME...]"
OPTIONS = (Option("timeout", "t", "int", default=60, help="Seconds to wait for each"),)


class _NotSent(WherryError):
    daemon = False


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_names(context, parsed.words)
    code = 0
    for name in parsed.words:
        try:
            left = context.engine.volumes.flush(name, float(parsed.timeout))
            if left:
                shown = ", ".join(path for path, _size in left[:5]) + (", …" if len(left) > 5 else "")
                raise _NotSent(
                    f"volume {name}: {len(left)} files are not sent yet: {shown}", hint="they are kept, and sent on the next use"
                )
            context.out(name + "\n")
        except WherryError as error:
            context.fail(error)
            code = 1
    return code
