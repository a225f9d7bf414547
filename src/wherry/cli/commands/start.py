"""`start`."""

from __future__ import annotations

from wherry.cli.commands.several import FILTER, LATEST, chosen, report
from wherry.cli.options import Option, parse
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
OPTIONS = (
    Option("all", kind="bool", help="Start all containers that don't run"),
    Option("attach", "a", "bool", help="Attach STDOUT/STDERR and forward signals"),
    Option("detach-keys", help="Override the key sequence for detaching a container"),
    FILTER.replace(short="f"),
    Option("interactive", "i", "bool", help="Attach container's STDIN"),
    LATEST,
    Option("sig-proxy", kind="bool", default=True, hidden=True),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="start")
    names = chosen(context, parsed, ("created", "exited"))
    if not (parsed.attach or parsed.interactive):
        return report(context, context.engine.containers.start_many(names))
    if len(names) != 1:
        raise UsageError("you cannot start and attach multiple containers at once")
    code = context.engine.containers.start(
        names[0], attach=True, stdin=parsed.interactive, sig_proxy=parsed.sig_proxy, detach_keys=parsed.detach_keys
    )
    return code or 0
