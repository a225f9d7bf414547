"""`builder cache`: ls, export, import."""

from __future__ import annotations

import os

from wherry.cli import output
from wherry.cli.options import Option, parse
from wherry.errors import InvalidArgument, UsageError
from wherry.model import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "ls | export ID FILE|- | import ID FILE|-"
OPTIONS = (Option("quiet", "q", "bool", help="ls: show ids only"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    match parsed.words:
        case [] | ["ls"]:
            return _list(context, parsed.quiet)
        case ["export", name, target]:
            return _export(context, name, target)
        case ["import", name, source]:
            return _import(context, name, source)
    raise UsageError(f"'{context.path}' is one of: {USAGE}")


def _list(context: Context, quiet: bool) -> int:
    import time

    found = context.engine.build.caches()
    if quiet:
        context.out("".join(mount.id + "\n" for mount in found))
        return 0
    now = time.time_ns()
    rows = [("ID", "FOLDERS", "LAST USED")]
    rows += [(mount.id, str(len(mount.folders)), f"{duration.human(now - mount.used_ns)} ago") for mount in found]
    context.out(output.table(rows))
    return 0


def _export(context: Context, name: str, target: str) -> int:
    if target == "-":
        context.engine.build.export_cache(name, 1)
        return 0
    new = f"{target}.{os.getpid()}"
    fd = _opened(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        context.engine.build.export_cache(name, fd)
        os.rename(new, target)
    except BaseException:
        os.unlink(new)
        raise
    finally:
        os.close(fd)
    return 0


def _import(context: Context, name: str, source: str) -> int:
    fd = 0 if source == "-" else _opened(source, os.O_RDONLY)
    try:
        context.engine.build.import_cache(name, fd)
    finally:
        if fd:
            os.close(fd)
    return 0


def _opened(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise InvalidArgument(f"open {path}: {os.strerror(error.errno or 0).lower()}") from error
