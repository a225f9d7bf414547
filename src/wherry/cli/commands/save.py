"""`save`."""

from __future__ import annotations

import os

from wherry.cli.options import Option, parse
from wherry.errors import UsageError, WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] IMAGE [IMAGE...]"
OPTIONS = (
    Option("compress", kind="bool", help="Compress the layers of a docker-dir"),
    Option("format", default="docker-archive", help='What to write ("docker-archive", "oci-archive", "oci-dir", "docker-dir")'),
    Option("multi-image-archive", "m", "bool", help="Several images in one archive (always possible)"),
    Option("output", "o", help="Write to a file, instead of STDOUT"),
    Option("platform", help="Save only the given platform (images here have one platform)"),
    Option("quiet", "q", "bool", help="Suppress the output"),
    Option("uncompressed", kind="bool", help="Don't compress the layers of an OCI layout"),
)


class _Refused(WherryError):
    daemon = False


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    if not parsed.words:
        raise UsageError(f"'{context.path}' requires at least 1 argument")
    if not parsed.output and os.isatty(1):
        raise _Refused("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    if parsed.compress and parsed.format != "docker-dir":
        raise UsageError("--compress can only be set when --format is 'docker-dir'")
    context.engine.images.save(
        parsed.words, parsed.output or 1, format=parsed.format, compress=parsed.compress, uncompressed=parsed.uncompressed
    )
    return 0
