"""`manifest annotate`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, Parsed, parse
from wherry.engine import manifest
from wherry.engine.manifest import Annotation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] MANIFEST_LIST MANIFEST"
PLATFORM = (
    Option("annotation", kind="list", help="Set an annotation of the entry"),
    Option("arch", help="Set architecture"),
    Option("features", kind="list", help="Set features of the processor that the image needs"),
    Option("os", help="Set operating system"),
    Option("os-features", kind="list", help="Set operating system feature"),
    Option("os-version", help="Set operating system version"),
    Option("variant", help="Set architecture variant"),
)
OPTIONS = PLATFORM


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 2)
    name, member = parsed.words
    manifest.annotate(context.engine.store, name, member, said(parsed))
    return 0


def said(parsed: Parsed) -> Annotation:
    return Annotation(
        os=parsed.os,
        architecture=parsed.arch,
        variant=parsed.variant,
        os_version=parsed.os_version,
        os_features=tuple(parsed.os_features),
        features=tuple(parsed.features),
        annotations=tuple(parsed.annotation),
    )
