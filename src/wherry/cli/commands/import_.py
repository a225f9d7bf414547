"""`import`."""

from __future__ import annotations

from wherry.cli.commands.load import readable
from wherry.cli.commands.several import needs_at_most, needs_names
from wherry.cli.options import Option, parse
from wherry.errors import InvalidArgument, Unsupported, UsageError
from wherry.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] file|- [REPOSITORY[:TAG]]"
OPTIONS = (
    Option("change", "c", "list", help="Apply Dockerfile instruction to the created image"),
    Option("message", "m", help="Set commit message for imported image"),
    Option("platform", help="Set platform of the image"),
    Option("quiet", "q", "bool", hidden=True),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="import_")
    needs_names(context, parsed.words)
    needs_at_most(context, parsed.words, 2)
    source: str | int = 0 if parsed.words[0] == "-" else parsed.words[0]
    name = parsed.words[1] if len(parsed.words) == 2 else None
    if name is not None:
        try:
            reference.parse(name)
        except InvalidArgument as error:
            raise UsageError(error.message) from None
    if isinstance(source, str):
        if source.startswith(("http://", "https://")):
            raise Unsupported("import from a URL is not supported yet", hint="download it and pipe it in: curl -L URL | wherry import -")
        readable(source)
    image_id = context.engine.images.import_(
        source, reference=name, changes=parsed.change, message=parsed.message, platform=parsed.platform
    )
    context.out(image_id + "\n")
    return 0
