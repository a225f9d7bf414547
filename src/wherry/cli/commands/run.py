"""`run`."""

from __future__ import annotations

from wherry.cli import create_options
from wherry.cli.commands.several import needs_names
from wherry.cli.options import parse
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
OPTIONS = create_options.RUN_OPTIONS


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, interspersed=False, later="run")
    needs_names(context, parsed.words)
    if parsed.detach and parsed.attach:
        raise UsageError("conflicting options: cannot specify both --attach and --detach")
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
