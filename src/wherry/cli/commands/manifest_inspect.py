"""`manifest inspect`."""

from __future__ import annotations

from wherry.cli.commands import transfer_options
from wherry.cli.commands.manifest_create import access_of
from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.engine import manifest
from wherry.errors import UsageError
from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] [MANIFEST_LIST] MANIFEST"
OPTIONS = (
    *transfer_options.OPTIONS,
    Option("insecure", kind="bool", help="Allow communication with an insecure registry"),
    Option("verbose", "v", "bool", help="Output additional info including layers and platform"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_names(context, parsed.words)
    if len(parsed.words) > 2:
        raise UsageError(f"'{context.path}' requires at most 2 arguments")
    name, member = parsed.words[0], parsed.words[1] if len(parsed.words) > 1 else ""
    data = manifest.inspect(context.engine.store, name, member, access_of(parsed))
    document = jsontext.loads(data)
    if parsed.verbose:
        from wherry.model import digest

        document = {"Ref": member or name, "Descriptor": {"digest": digest.of(data), "size": len(data)}, "Manifest": document}
    # docker indents by tabs
    lines = jsontext.dumps(document, indent=1).split("\n")
    context.out("".join("\t" * (len(line) - len(line.lstrip(" "))) + line.lstrip(" ") + "\n" for line in lines))
    return 0
