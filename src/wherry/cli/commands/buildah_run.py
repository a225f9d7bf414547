"""`buildah run`."""

from __future__ import annotations

import os

from wherry.cli.options import Option, parse
from wherry.errors import UsageError
from wherry.model import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER [--] COMMAND [ARG...]"
OPTIONS = (
    Option("add-history", kind="bool", help="Add an entry for the command to the image's history"),
    Option("cap-add", kind="list", help="Add a capability"),
    Option("cap-drop", kind="list", help="Drop a capability"),
    Option("env", "e", "list", help="Set an environment variable for the command"),
    Option("hostname", help="Hostname for the command"),
    Option("isolation", help="How commands are run (there is one way)", hidden=True),
    Option("mount", kind="list", help="Attach a file system mount for the command"),
    Option("network", help='"host" or "none"'),
    Option("net", hidden=True),
    Option("no-hostname", kind="bool", hidden=True),
    Option("no-hosts", kind="bool", hidden=True),
    Option("no-pivot", kind="bool", hidden=True),
    Option("runtime", hidden=True),
    Option("runtime-flag", kind="list", hidden=True),
    Option("terminal", kind="bool", hidden=True),
    Option("tty", "t", "bool", help="Give the command a terminal"),
    Option("user", "u", help="User (and group) that runs the command"),
    Option("volume", "v", "list", help="Bind a folder of the host for the command"),
    Option("workingdir", help="Folder in which the command runs"),
)
_LATER = dict.fromkeys("cgroupns contextdir device ipc pid uts".split(), "commands of working containers have namespaces of their own")


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words, interspersed=False, later=_LATER)
    if not parsed.words:
        raise UsageError("container ID must be specified")
    name, argv = parsed.words[0], parsed.words[1:]
    if argv[:1] == ["--"]:
        argv = argv[1:]
    if not argv:
        raise UsageError("command must be specified")
    from wherry.engine.working import RunWishes, Working

    env = tuple(e if "=" in e else f"{e}={os.environ[e]}" for e in parsed.env if "=" in e or e in os.environ)
    volumes = (*(mounts.parse_volume(v) for v in parsed.volume), *(mounts.parse_mount(m) for m in parsed.mount))
    network = parsed.network or parsed.net or "host"
    if network not in ("host", "none", "private", "default"):
        raise UsageError(f"network {network!r} is not supported here; host and none are")
    return Working(context.engine, name).run(
        argv,
        RunWishes(
            env=env,
            user=parsed.user,
            workdir=parsed.workingdir,
            network="none" if network == "none" else "host",
            hostname=parsed.hostname,
            tty=parsed.tty or parsed.terminal,
            volumes=volumes,
            cap_add=tuple(parsed.cap_add),
            cap_drop=tuple(parsed.cap_drop),
            add_history=parsed.add_history,
        ),
    )
