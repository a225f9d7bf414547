"""`secret create`."""

from __future__ import annotations

import os

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import CountError, Option, parse
from wherry.errors import WherryError
from wherry.model import envfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] SECRET [FILE|-]"
OPTIONS = (
    Option("driver", "d", default="file", help='Specify secret driver: "file" is the one that there is'),
    Option("env", kind="bool", help="Read the secret from the variable of that name, instead of a file"),
    Option("label", "l", "list", help="Secret labels"),
    Option("replace", kind="bool", help="Take the place of a secret of that name"),
)
_MOST = 1 << 20


class _Refused(WherryError):
    daemon = False


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="secret_create")
    if len(parsed.words) == 1:
        raise CountError("requires 2 arguments")
    needs_exactly(context, parsed.words, 2)
    if parsed.driver != "file":
        raise _Refused(f"secret driver {parsed.driver}: there is no such driver", hint="leave --driver out")
    name, source = parsed.words
    data = _from_environment(source) if parsed.env else _from_file(source)
    context.out(context.engine.secrets.create(name, data, labels=envfile.labels(parsed.label), replace=parsed.replace) + "\n")
    return 0


def _from_environment(name: str) -> bytes:
    value = os.environb.get(os.fsencode(name))
    if value is None:
        raise _Refused(f"cannot create store secret data: environment variable {name} is not set")
    return value


def _from_file(path: str) -> bytes:
    parts = []
    try:
        fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        left = _MOST
        while left > 0 and (part := os.read(fd, left)):
            parts.append(part)
            left -= len(part)
    except OSError as error:
        raise _Refused(f"reading secret from {path}: {os.strerror(error.errno or 0).lower()}") from error
    return b"".join(parts)
