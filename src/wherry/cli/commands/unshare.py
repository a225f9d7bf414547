"""`unshare`: a command as root of the user's own namespace, where his files of other ids are within reach and mounts can be made."""

from __future__ import annotations

import os

from wherry.cli.options import Option, parse
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] [COMMAND [ARG...]]"
OPTIONS = (Option("mount", "m", "list", placeholder="VARIABLE=CONTAINER", help="Mount a working container; the variable holds its path"),)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, interspersed=False)
    argv = parsed.words or [os.environ.get("SHELL") or "/bin/sh"]
    if os.geteuid() == 0:
        raise WherryError("please use unshare with rootless", hint="root sees and mounts everything already: run the command as it is")
    if parsed.mount:
        # The mounts are made inside: by a shell that ends in the command.
        script = "".join(
            f'{name}=$("$WHERRY_SELF" buildah mount {container}) || exit; export {name}; ' for name, container in _wanted(parsed.mount)
        )
        argv = ["/bin/sh", "-c", script + 'exec "$@"', "sh", *argv]
    from wherry.engine import unsharing

    return unsharing.execute(context.engine, argv)


def _wanted(texts: list[str]) -> list[tuple[str, str]]:
    found = []
    for text in texts:
        name, equals, container = text.partition("=")
        if not equals or not name.isidentifier() or not all(c.isalnum() or c in "_.-" for c in container):
            raise WherryError(f"invalid --mount {text!r}: it is VARIABLE=CONTAINER")
        found.append((name, container))
    return found
