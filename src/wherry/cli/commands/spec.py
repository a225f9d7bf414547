"""`spec`: the OCI runtime spec that a `create` with these flags would have."""

from __future__ import annotations

from wherry.cli import create_options
from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
OPTIONS = (*create_options.OPTIONS, Option("container", kind="bool", help="The first argument is a container, whose spec is shown"))


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, interspersed=False, later="create")
    needs_names(context, parsed.words)
    if parsed.container:
        found = context.engine.containers.spec_of(parsed.words[0])
    else:
        found = context.engine.containers.spec(create_options.request(parsed, detach=False))
    context.out(jsontext.dumps(found, indent=4) + "\n")
    return 0
