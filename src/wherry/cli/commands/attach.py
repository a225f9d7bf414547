"""`attach`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER"
OPTIONS = (
    Option("detach-keys", help="Override the key sequence for detaching a container"),
    Option("no-stdin", kind="bool", help="Do not attach STDIN"),
    Option("sig-proxy", kind="bool", default=True, help="Proxy all received signals to the process"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later="attach")
    needs_exactly(context, parsed.words, 1)
    code = context.engine.containers.attach(
        parsed.words[0], stdin=not parsed.no_stdin, sig_proxy=parsed.sig_proxy, detach_keys=parsed.detach_keys
    )
    return code or 0
