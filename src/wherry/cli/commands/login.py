"""`login`."""

from __future__ import annotations

import os
import sys

from wherry.cli.commands.several import needs_at_most
from wherry.cli.options import Option, parse
from wherry.engine import registry
from wherry.engine.transfer import Access
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context
    from wherry.cli.options import Parsed

USAGE = "[OPTIONS] [SERVER]"
OPTIONS = (
    Option("authfile", help="Path of the authentication file"),
    Option("cert-dir", help="Path of a folder with TLS certificates and keys"),
    Option("get-login", kind="bool", help="Return the current login user for the registry"),
    Option("password", "p", help="Password or Personal Access Token (PAT)"),
    Option("password-stdin", kind="bool", help="Take the Password or Personal Access Token (PAT) from stdin"),
    Option("tls-verify", kind="bool", default=True, help="Require HTTPS and verify certificates"),
    Option("username", "u", help="Username"),
    Option("verbose", "v", "bool", help="Write more detailed information to stdout", hidden=True),
)
_LATER = {"secret": "give the password with --password-stdin"}


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, later=_LATER)
    needs_at_most(context, parsed.words, 1)
    server = registry.server_name(parsed.words[0] if parsed.words else "")
    access = access_of(parsed)
    if parsed.get_login:
        name = registry.login_name(server, access)
        if not name:
            raise _Plain(f"not logged into {server}")
        context.out(name + "\n")
        return 0
    username, password = _asked(context, parsed, server, registry.login_name(server, access))
    file = registry.login(server, username, password, access)
    if file:
        context.error(
            f"\nWARNING! Your credentials are stored unencrypted in '{file}'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n"
        )
    context.out("Login Succeeded\n")
    return 0


class _Plain(WherryError):
    daemon = False


def access_of(parsed: Parsed) -> Access:
    return Access(
        authfile=parsed.authfile,
        cert_dir=getattr(parsed, "cert_dir", ""),
        tls_verify=parsed.tls_verify if "tls-verify" in parsed.given else None,
    )


def _asked(context: Context, parsed: Parsed, server: str, known: str) -> tuple[str, str]:
    """Name and password out of options, standard input and the terminal. Raises with docker's words."""
    username, password = parsed.username, parsed.password
    if "password" in parsed.given:
        if parsed.password_stdin:
            raise _Plain("--password and --password-stdin are mutually exclusive")
        context.error("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if parsed.password_stdin:
        if not username:
            raise _Plain("Must provide --username with --password-stdin")
        data = sys.stdin.buffer.read(1 << 16)
        password = os.fsdecode(data).removesuffix("\n").removesuffix("\r")
    if (not username or not password) and not os.isatty(0):
        raise _Plain("Error: Cannot perform an interactive login from a non TTY device")
    if not username:
        if server == "docker.io":
            context.out("Log in with your Docker ID or email address to push and pull images from Docker Hub.\n")
        context.out(f"Username ({known}): " if known else "Username: ")
        username = sys.stdin.readline().strip() or known
        if not username:
            raise _Plain("Error: Non-null Username Required")
    if not password:
        password = ask_password()
        if not password:
            raise _Plain("Error: Password Required")
    return username, password


def ask_password() -> str:
    """From the terminal, unseen."""
    if not os.isatty(0):
        raise _Plain("Error: Cannot perform an interactive login from a non TTY device")
    import getpass

    try:
        return getpass.getpass("Password: ")
    except EOFError:
        return ""
