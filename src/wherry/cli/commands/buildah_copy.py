"""`buildah copy`, and `buildah add`, which unpacks archives and fetches URLs, too."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER SOURCE [SOURCE...] [DESTINATION]"
OPTIONS = (
    Option("add-history", kind="bool", help="Add an entry to the image's history"),
    Option("chmod", help="Mode of the copied files"),
    Option("chown", help="Owner of the copied files"),
    Option("contextdir", help="Folder that sources are relative to"),
    Option("exclude", kind="list", help="Leave files out that match the pattern"),
    Option("from", help="Copy from this image or container instead of the host"),
    Option("ignorefile", help="A .dockerignore for the sources"),
    Option("quiet", "q", "bool", help="Print nothing"),
    Option("tls-verify", kind="bool", default=True, hidden=True),
    Option("retry", kind="int", default=5, hidden=True),
    Option("retry-delay", hidden=True),
)
_LATER = dict.fromkeys(
    "allow-empty-wildcard allow-wildcard cert-dir checksum link no-follow-symlinks parents timestamp".split(),
    "use COPY or ADD of a Dockerfile",
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later=_LATER)
    needs_names(context, parsed.words, 2)
    name, *sources = parsed.words
    destination = sources.pop() if len(sources) > 1 else ""
    ignore: tuple[str, ...] = ()
    if parsed.ignorefile:
        with open(parsed.ignorefile, encoding="utf-8") as file:
            ignore = tuple(line.strip() for line in file if line.strip() and not line.startswith("#"))
    from wherry.engine.working import Working
    from wherry.engine.working_copy import CopyWishes, copy

    working = Working(context.engine, name)
    verb = context.path.rpartition(" ")[2]
    digest = copy(
        context.engine,
        working,
        sources,
        destination,
        CopyWishes(
            add=verb == "add",
            chown=parsed.chown,
            chmod=parsed.chmod,
            from_=getattr(parsed, "from"),
            contextdir=parsed.contextdir,
            ignore=ignore,
            exclude=tuple(parsed.exclude),
        ),
    )
    if parsed.add_history:
        working.note(f"/bin/sh -c #(nop) {verb.upper()} {' '.join(sources)} in {destination or '.'}")
        working.save()
    if not parsed.quiet:
        context.out(digest + "\n")
    return 0
