"""`manifest push`."""

from __future__ import annotations

from wherry.cli.commands import progress, transfer_options
from wherry.cli.commands.manifest_create import access_of
from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.engine import manifest
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] MANIFEST_LIST [DESTINATION]"
OPTIONS = (
    *transfer_options.OPTIONS,
    Option("all", kind="bool", default=True, help="Push the images of the list as well (always)", hidden=True),
    Option("digestfile", help="Write the digest of the pushed list to a file"),
    Option("format", "f", help='Form of the list ("oci", "v2s2")'),
    Option("insecure", kind="bool", help="Allow push to an insecure registry"),
    Option("purge", "p", "bool", help="Remove the local manifest list after push"),
    Option("quiet", "q", "bool", help="Suppress the progress"),
    Option("rm", kind="bool", help="Remove the local manifest list after push"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_names(context, parsed.words)
    if len(parsed.words) > 2:
        raise UsageError(f"'{context.path}' requires at most 2 arguments")
    target = parsed.words[1].removeprefix("docker://") if len(parsed.words) > 1 else ""
    digest = manifest.push(
        context.engine.store,
        parsed.words[0],
        target,
        access_of(parsed),
        purge=parsed.purge or parsed.rm,
        form=parsed.format,
        progress=None if parsed.quiet else progress.shown(2),
    )
    context.out(digest + "\n")
    if parsed.digestfile:
        with open(parsed.digestfile, "w", encoding="ascii") as file:
            file.write(digest)
    return 0
