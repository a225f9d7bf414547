"""`volume create`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_at_most
from wherry.cli.options import Option, parse
from wherry.errors import UsageError
from wherry.model import envfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] [VOLUME]"
OPTIONS = (
    Option("driver", "d", default="local", help="Specify volume driver name"),
    Option("label", kind="list", help="Set metadata for a volume"),
    Option("name", help="Specify volume name", hidden=True),
    Option("opt", "o", "list", placeholder="map", help="Set driver specific options"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="volume_create")
    needs_at_most(context, parsed.words, 1)
    if parsed.name and parsed.words:
        raise UsageError("conflicting options: cannot specify a volume name through both --name and as a positional arg")
    options = {key: value for key, _, value in (text.partition("=") for text in parsed.opt)}
    name = parsed.words[0] if parsed.words else parsed.name
    volume = context.engine.volumes.create(name, driver=parsed.driver, options=options, labels=envfile.labels(parsed.label))
    context.out(volume.name + "\n")
    return 0
