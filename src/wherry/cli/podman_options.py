"""podman's flags of `run` and `create` that docker lacks."""

from __future__ import annotations

import os

from wherry.cli.options import Option, Parsed
from wherry.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.model.mounts import MountSpec

_O = Option


def _mask(text: str) -> int:
    if not text or len(text) > 4 or text.strip("01234567"):
        raise UsageError(f"invalid umask: {text}")
    return int(text, 8)


def _entry(text: str) -> str:
    if "\n" in text or text.count(":") < 3:
        raise UsageError(f"invalid entry: {text!r}: one line of words with colons between them")
    return text


OPTIONS: tuple[Option, ...] = (
    _O("env-host", kind="bool", help="Use the caller's environment variables inside the container, below those of the image"),
    _O("group-entry", check=_entry, help="Entry for /etc/group, where the group of the container's user has none"),
    _O("no-hosts", kind="bool", help="Leave /etc/hosts as it is in the image"),
    _O("passwd-entry", check=_entry, help="Entry for /etc/passwd, where the container's user has none"),
    _O("pidfile", help="Write the container's process id to the file"),
    _O("replace", kind="bool", help="If a container with the same name exists, replace it"),
    _O("rootfs", kind="bool", help="The first argument is not an image but the folder of a root file system, or FOLDER:O for one to be left as it is"),
    _O("timeout", kind="int", default=0, help="Seconds after which the container is killed (0: never)"),
    _O("tz", help="Time zone of the container: a name as Europe/Paris, or `local`"),
    _O("umask", placeholder="octal", default=-1, check=_mask, help="Mask of the container's first process (default 0022)"),
    _O("unsetenv", kind="list", help="Take a variable of the image's away"),
    _O("unsetenv-all", kind="bool", help="Take all variables of the image's away"),
)  # fmt: skip

NAMES = frozenset(option.name for option in OPTIONS)


def apply(parsed: Parsed, config: dict[str, Any], host: dict[str, Any], mounts: list[MountSpec]) -> dict[str, Any]:
    """Add what the flags ask for; the fields of the request that come of them. Raises UsageError."""
    given = parsed.given
    if "umask" in given:
        config["Umask"] = f"{parsed.umask:04o}"
    if parsed.timeout:
        if parsed.timeout < 0:
            raise UsageError("--timeout cannot be negative")
        config["Timeout"] = parsed.timeout
    if parsed.no_hosts:
        if parsed.add_host:
            raise UsageError("--no-hosts and --add-host cannot be set together")
        host["NoHosts"] = True
    for option, key in (("passwd_entry", "PasswdEntry"), ("group_entry", "GroupEntry")):
        if getattr(parsed, option):
            config[key] = getattr(parsed, option)
    if parsed.pidfile:
        host["PidFile"] = os.path.abspath(parsed.pidfile)
    if parsed.tz:
        mounts.append(_zone(parsed.tz))
    config["Env"] += [name for name in parsed.unsetenv if name]
    found: dict[str, Any] = {"replace_other": parsed.replace, "no_image_env": parsed.unsetenv_all}
    if parsed.replace and not parsed.name:
        raise UsageError("cannot replace container without --name being set")
    if parsed.rootfs:
        found["rootfs"] = parsed.words[0]
    if parsed.env_host:
        found["low_env"] = tuple(f"{key}={value}" for key, value in os.environ.items())
    return found


def _zone(name: str) -> MountSpec:
    from wherry.model.mounts import MountSpec

    path = "/etc/localtime" if name == "local" else os.path.normpath(f"/usr/share/zoneinfo/{name}")
    if name != "local" and not path.startswith("/usr/share/zoneinfo/"):
        raise UsageError(f"finding timezone: unknown time zone {name}")
    path = os.path.realpath(path)
    if not os.path.isfile(path):
        raise UsageError(f"finding timezone: unknown time zone {name}: {path} is no file of this host")
    return MountSpec("bind", "/etc/localtime", path, read_only=True)
