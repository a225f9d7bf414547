"""`logout`."""

from __future__ import annotations

from wherry.cli.commands.login import access_of
from wherry.cli.commands.several import needs_at_most
from wherry.cli.options import Option, parse
from wherry.engine import registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[SERVER]"
OPTIONS = (
    Option("all", "a", "bool", help="Remove the credentials of all registries"),
    Option("authfile", help="Path of the authentication file"),
    Option("tls-verify", kind="bool", default=True, help="Not used", hidden=True),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_at_most(context, parsed.words, 0 if parsed.all else 1)
    access = access_of(parsed)
    servers = registry.logged_in(access) if parsed.all else [registry.server_name(parsed.words[0] if parsed.words else "")]
    for server in servers:
        shown = "https://index.docker.io/v1/" if server == "docker.io" else server
        if registry.logout(server, access):
            context.out(f"Removing login credentials for {shown}\n")
        else:
            context.out(f"Not logged in to {shown}\n")
    return 0
