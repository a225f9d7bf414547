"""`run`."""

from __future__ import annotations

from wherry.cli import create_options
from wherry.cli.options import Parsed, parse
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
OPTIONS = create_options.RUN_OPTIONS


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, interspersed=False, later=create_options.LATER)
    _check(parsed, context.path)
    request = create_options.request(parsed, detach=parsed.detach)
    result = context.engine.containers.run(
        request,
        detach=parsed.detach,
        attach=create_options.attached_streams(parsed),
        sig_proxy=parsed.sig_proxy,
        detach_keys=parsed.detach_keys,
    )
    if parsed.detach:
        context.out(result.id + "\n")
        return 0
    return result.exit_code or 0


def _check(parsed: Parsed, path: str) -> None:
    if not parsed.words:
        raise UsageError(f"'{path}' requires at least 1 argument")
    if parsed.detach and parsed.attach:
        raise UsageError("conflicting options: cannot specify both --attach and --detach")
