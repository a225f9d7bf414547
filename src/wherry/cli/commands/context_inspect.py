"""`context inspect`."""

from __future__ import annotations

from wherry.cli.commands import documents
from wherry.cli.commands.context_use import known
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] [CONTEXT] [CONTEXT...]"
OPTIONS = (Option("format", "f", help="Format output using a custom template: 'json' or a Go template"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    document: dict[str, object] = {
        "Name": "default",
        "Metadata": {},
        "Endpoints": {"docker": {"Host": "", "SkipTLSVerify": False}},
        "TLSMaterial": {},
        "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"},
    }

    def get(name: str) -> dict[str, object]:
        known(name)
        return document

    return documents.show(context, parsed.words or ["default"], parsed.format, get, 'context "{}": context not found')
