"""`buildx ls`."""

from __future__ import annotations

from wherry.cli import output
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import parse
from wherry.model import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context
    from wherry.cli.options import Option

USAGE = ""
OPTIONS: tuple[Option, ...] = ()


def run(context: Context, words: list[str]) -> int:
    needs_exactly(context, parse(OPTIONS, words).words, 0)
    rows = [
        ("NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS"),
        ("default*", "wherry", "", "", ""),
        (" \\_ default", " \\_ default", "running", "", str(platform.host())),
    ]
    context.out(output.table(rows))
    return 0
