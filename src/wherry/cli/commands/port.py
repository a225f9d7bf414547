"""`port`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_at_most, needs_names
from wherry.cli.options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "CONTAINER [PRIVATE_PORT[/PROTO]]"
OPTIONS = ()


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="port")
    needs_names(context, parsed.words)
    needs_at_most(context, parsed.words, 2)
    found = context.engine.containers.ports(parsed.words[0])
    if len(parsed.words) == 1:
        context.out("".join(f"{key} -> {address}\n" for key, address in found))
        return 0
    number, slash, protocol = parsed.words[1].partition("/")
    wanted = f"{number}/{protocol if slash else 'tcp'}"
    lines = [address for key, address in found if key == wanted]
    if not lines:
        context.error(f"Error: no public port '{wanted}' published for {parsed.words[0]}")
        return 1
    context.out("".join(line + "\n" for line in lines))
    return 0
