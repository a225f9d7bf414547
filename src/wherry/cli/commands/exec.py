"""`exec`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_names
from wherry.cli.options import Option, parse
from wherry.model import envfile
from wherry.model.container import ExecRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER COMMAND [ARG...]"
OPTIONS = (
    Option("detach", "d", "bool", help="Detached mode: run command in the background"),
    Option("detach-keys", help="Override the key sequence for detaching a container"),
    Option("env", "e", "list", check=envfile.variable, help="Set environment variables"),
    Option("env-file", kind="list", help="Read in a file of environment variables"),
    Option("interactive", "i", "bool", help="Keep STDIN open even if not attached"),
    Option("privileged", kind="bool", help="Give extended privileges to the command"),
    Option("tty", "t", "bool", help="Allocate a pseudo-TTY"),
    Option("user", "u", help="Username or UID (format: <name|uid>[:<group|gid>])"),
    Option("workdir", "w", help="Working directory inside the container"),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, interspersed=False, later="exec")
    needs_names(context, parsed.words, 2)
    env: list[str] = []
    for path in parsed.env_file:
        env += envfile.read_file(path)
    env += parsed.env
    request = ExecRequest(
        cmd=tuple(parsed.words[1:]),
        tty=parsed.tty,
        stdin=parsed.interactive,
        detach=parsed.detach,
        env=tuple(env),
        user=parsed.user,
        workdir=parsed.workdir,
        privileged=parsed.privileged,
        detach_keys=parsed.detach_keys,
    )
    return context.engine.containers.exec(parsed.words[0], request) or 0
