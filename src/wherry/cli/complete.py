"""Completion: what may stand at the end of a command line. The shells' scripts ask for it with the words that are there."""

from __future__ import annotations

from wherry.cli import table
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.context import Context
    from wherry.cli.options import Option

# What a command's words are.
_RUNNING = ("attach", "exec", "kill", "pause", "port", "stats", "stop", "top", "unpause", "wait", "healthcheck_run")
_CONTAINERS = (
    "commit container_exists container_inspect cp diff export inspect logs rename restart rm start update " + " ".join(_RUNNING)
).split()
_IMAGES = "create history image_exists image_inspect inspect push rmi run save tag untag".split()
_VALUES = {
    "restart": ("no", "always", "on-failure", "unless-stopped"),
    "pull": ("always", "missing", "never"),
    "network": ("none", "host", "bridge"),
    "log-driver": ("json-file", "local", "none", "journald", "syslog", "passthrough"),
    "signal": ("HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"),
    "health-on-failure": ("none", "kill", "restart", "stop"),
    "log-level": ("debug", "info", "warn", "error", "fatal"),
}


def candidates(context: Context, words: list[str]) -> list[str]:
    """`words` are those behind the program's name; the last one, maybe empty, is to be completed."""
    *before, last = words or [""]
    path, count = table.find(before)
    if not path:
        group = before[-1] if before and before[-1] in table.GROUPS else ""
        if before and not group:
            return []
        prefix = group + " " if group else ""
        names = [p[len(prefix) :] for p in table.COMMANDS if p.startswith(prefix) and " " not in p[len(prefix) :]]
        return _beginning(last, [*names, *(() if group else table.GROUPS)])
    module = table.COMMANDS[path][0]
    options: tuple[Option, ...] = __import__(f"wherry.cli.commands.{module}", fromlist=["OPTIONS"]).OPTIONS
    shown = [option for option in options if not option.hidden]
    if last.startswith("-"):
        return _beginning(last, [f"--{option.name}" for option in shown] + ["--help"])
    asked = _wants_value(before[count:], shown)
    if asked is not None:
        return _beginning(last, list(_VALUES.get(asked.name, ())))
    return _beginning(last, _objects(context, module, before[count:]))


def _beginning(last: str, names: list[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(last)})


def _wants_value(words: list[str], options: list[Option]) -> Option | None:
    if not words or not words[-1].startswith("-") or "=" in words[-1]:
        return None
    for option in options:
        if option.kind != "bool" and words[-1] in (f"--{option.name}", f"-{option.short}" if option.short else ""):
            return option
    return None


def _objects(context: Context, module: str, words: list[str]) -> list[str]:
    """Names in the store. A store that can't be read completes nothing: the command itself says why."""
    found: list[str] = []
    plain = [word for word in words if not word.startswith("-")]
    try:
        if module in _CONTAINERS and not (module == "exec" and plain):
            found += [name for s in context.engine.containers.list(all=module not in _RUNNING) for name in s.names]
        if module in _IMAGES:
            found += [tag for image in context.engine.images.list() for tag in image.repo_tags]
        if module.startswith("volume_"):
            found += [str(volume.name) for volume in context.engine.volumes.list()]
        if module.startswith("network_"):
            found += [str(network.name) for network in context.engine.networks.list()]
    except (WherryError, OSError, AttributeError, TypeError):
        return found
    return found
