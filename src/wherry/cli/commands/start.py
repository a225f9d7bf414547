"""`start`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names, report
from wherry.cli.options import Option, parse
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (
    Option("attach", "a", "bool", help="Attach STDOUT/STDERR and forward signals"),
    Option("detach-keys", help="Override the key sequence for detaching a container"),
    Option("interactive", "i", "bool", help="Attach container's STDIN"),
    Option("sig-proxy", kind="bool", default=True, hidden=True),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="start")
    needs_names(context, parsed.words)
    if not (parsed.attach or parsed.interactive):
        return report(context, context.engine.containers.start_many(parsed.words))
    if len(parsed.words) > 1:
        raise UsageError("you cannot start and attach multiple containers at once")
    code = context.engine.containers.start(
        parsed.words[0], attach=True, stdin=parsed.interactive, sig_proxy=parsed.sig_proxy, detach_keys=parsed.detach_keys
    )
    return code or 0
