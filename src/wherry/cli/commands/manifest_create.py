"""`manifest create`."""

from __future__ import annotations

from wherry.cli.commands import transfer_options
from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, Parsed, parse
from wherry.engine import manifest
from wherry.engine.transfer import Access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] MANIFEST_LIST [MANIFEST...]"
OPTIONS = (
    *transfer_options.OPTIONS,
    Option("all", kind="bool", help="Add all images of a list that is named"),
    Option("amend", "a", "bool", help="Amend an existing manifest list"),
    Option("insecure", kind="bool", help="Allow communication with an insecure registry"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_names(context, parsed.words)
    name, *members = parsed.words
    done = manifest.create(context.engine.store, name, members, access_of(parsed), amend=parsed.amend, every=parsed.all)
    context.out(f"Created manifest list {done}\n")
    return 0


def access_of(parsed: Parsed) -> Access:
    """With docker's --insecure, which means --tls-verify=false."""
    found = transfer_options.access(parsed)
    return found.replace(tls_verify=False) if parsed.insecure else found
