"""`cp`."""

from __future__ import annotations

import os

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import UsageError
from wherry.model import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\twherry cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"
OPTIONS = (
    Option("archive", "a", "bool", help="Archive mode (into a container: give the files to its user; out of it, as root: keep their ids)"),
    Option("follow-link", "L", "bool", help="Always follow symbol link in SRC_PATH"),
    Option("overwrite", kind="bool", hidden=True),
    Option("quiet", "q", "bool", help="Suppress the line on standard error at the end"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="cp")
    needs_exactly(context, parsed.words, 2)
    source, target = parsed.words
    if not source or not target:
        raise UsageError(f"{'destination' if source else 'source'} can not be empty")
    start, source_path = _split(source)
    end, target_path = _split(target)
    if start and end:
        raise UsageError("copying between containers is not supported")
    if not start and not end:
        raise UsageError("must specify at least one container source")
    containers = context.engine.containers
    if start:
        whole = 1 if target == "-" else _local(target)
        size = containers.copy_out(start, source_path, whole, follow=parsed.follow_link, archive=parsed.archive)
        if whole == 1:
            return 0
        where = str(whole)
    else:
        given = 0 if source == "-" else source
        size, inner = containers.copy_in(end, given, target_path, follow=parsed.follow_link, archive=parsed.archive)
        where = f"{end}:{target_path}"
        if given == 0:
            return 0
    if not parsed.quiet:
        context.error(f"Successfully copied {sizes.human(size, precision=3)} to {where}")
    return 0


def _split(word: str) -> tuple[str, str]:
    """CONTAINER:PATH, or ("", PATH): a word that begins with a slash or a dot is a local path, whatever colons it has."""
    if word.startswith(("/", ".")):
        return "", word
    name, colon, path = word.partition(":")
    return (name, path) if colon else ("", word)


def _local(target: str) -> str:
    """docker shows the absolute path; what ends it is kept, as it means something."""
    end = "/" if target.endswith(("/", "/.")) else ""
    return os.path.abspath(target).rstrip("/") + end if os.path.abspath(target) != "/" else "/"
