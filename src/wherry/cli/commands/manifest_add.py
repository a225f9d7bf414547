"""`manifest add`."""

from __future__ import annotations

from wherry.cli.commands import transfer_options
from wherry.cli.commands.manifest_annotate import PLATFORM, said
from wherry.cli.commands.manifest_create import access_of
from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.engine import manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] MANIFEST_LIST IMAGE"
OPTIONS = (
    *transfer_options.OPTIONS,
    *PLATFORM,
    Option("all", kind="bool", help="Add all images of a list that is named"),
    Option("insecure", kind="bool", help="Allow communication with an insecure registry"),
)
_LATER = {"artifact": "", "artifact-type": ""}


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later=_LATER)
    needs_exactly(context, parsed.words, 2)
    name, member = parsed.words
    context.out(manifest.add(context.engine.store, name, member, access_of(parsed), said(parsed), every=parsed.all) + "\n")
    return 0
