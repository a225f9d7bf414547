"""`alias install`: the command under the names of the programs it stands in for."""

from __future__ import annotations

import os
import sys

from wherry.cli.commands.several import needs_names
from wherry.cli.context import PROGRAMS
from wherry.cli.options import Option, parse
from wherry.errors import Conflict, InvalidArgument, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] DIR [NAME...]"
OPTIONS = (
    Option("force", "f", "bool", help="Take the place of a program or a link that is there"),
    Option("remove", kind="bool", help="Take the links away again"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_names(context, parsed.words)
    folder, names = parsed.words[0], parsed.words[1:] or list(PROGRAMS)
    for name in names:
        if name not in PROGRAMS:
            raise UsageError(f"{name}: no program that wherry stands in for", hint=f"one of {', '.join(PROGRAMS)}")
    if not os.path.isdir(folder):
        raise InvalidArgument(f"{folder}: no such folder", hint="name a folder of your PATH, such as ~/.local/bin")
    target = _command()
    for name in names:
        path = os.path.join(folder, name)
        if parsed.remove:
            if os.path.islink(path) and os.path.realpath(path) == target:
                os.unlink(path)
                context.out(f"{path}\n")
            continue
        _link(path, target, force=parsed.force)
        context.out(f"{path} -> {target}\n")
    return 0


def _command() -> str:
    path = os.path.realpath(sys.argv[0])
    if not os.access(path, os.X_OK) or os.path.basename(path) != "wherry":
        raise InvalidArgument(f"{path}: not the installed command", hint="call the `wherry` that pip installed")
    return path


def _link(path: str, target: str, *, force: bool) -> None:
    if os.path.lexists(path):
        if os.path.islink(path) and os.path.realpath(path) == target:
            return
        if not force:
            raise Conflict(f"{path}: there already", hint="--force takes its place")
    try:
        os.symlink(target, path + ".wherry-new")
        os.rename(path + ".wherry-new", path)
    except OSError as error:
        raise InvalidArgument(f"{path}: {os.strerror(error.errno or 0).lower()}") from error
