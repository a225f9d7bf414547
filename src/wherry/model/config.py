"""Settings: /etc/wherry/config.toml, then $XDG_CONFIG_HOME/wherry/config.toml, then WHERRY_… variables; the later wins.

Every key is in KEYS with its type, default and meaning: the one table for reading, `wherry info` and the docs.
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# key: (type, default, meaning). The variable of a key is WHERRY_ and its name in capitals.
KEYS: dict[str, tuple[type, Any, str]] = {
    "root": (str, "", "the store; empty: /var/lib/wherry for root, $XDG_DATA_HOME/wherry for others"),
    "runroot": (str, "", "what needn't survive a reboot; empty: /run/wherry, $XDG_RUNTIME_DIR/wherry or /tmp/wherry-<uid>"),
    "log_max_size": (str, "10m", "size at which a container's log is rotated; -1: never"),
    "log_max_file": (int, 3, "files kept of a container's log, the current one included"),
    "plain_binds": (bool, False, "root only: bind mounts are not id-mapped, so files written in them belong to the container's own ids"),
    "host_reserve": (str, "", "memory that all containers together leave the host; empty: 5 %, 512m at least; 0: none"),
    "publish_address": (str, "", "address of the host on which -p publishes without one; empty: all, 0.0.0.0 and [::]"),
    "block_metadata": (bool, False, "containers don't reach the cloud's metadata service (169.254.169.254)"),
    "rclone": (str, "", "path of the rclone that mounts S3 volumes; empty: the one beside this Python, or on PATH"),
    "detach_keys": (str, "ctrl-p,ctrl-q", "keys that leave an attached terminal"),
}


class Setting(Record):
    """A value and where it comes from: "default", a file's path, or a variable's name."""

    value: Any
    origin: str


_cached: dict[str, Setting] | None = None


def settings() -> dict[str, Setting]:
    """All settings, read once for each process. Raises InvalidArgument for a file or variable that can't be understood."""
    global _cached
    if _cached is None:
        found = {key: Setting(default, "default") for key, (_kind, default, _meaning) in KEYS.items()}
        for path in _files():
            _read(path, found)
        for key, (kind, _default, _meaning) in KEYS.items():
            variable = "WHERRY_" + key.upper()
            text = os.environ.get(variable)
            if text:
                found[key] = Setting(_from_text(variable, kind, text), variable)
        _cached = found
    return _cached


def value(key: str) -> Any:
    return settings()[key].value


def _files() -> list[str]:
    home = os.environ.get("XDG_CONFIG_HOME") or os.environ.get("HOME", "") + "/.config"
    return [p for p in ("/etc/wherry/config.toml", home + "/wherry/config.toml") if p.startswith("/") and os.path.exists(p)]


def _read(path: str, found: dict[str, Setting]) -> None:
    import tomllib

    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgument(f"the config file {path} can't be read: {error}") from error
    for key, given in document.items():
        if key not in KEYS:
            raise InvalidArgument(f"the config file {path} has an unknown key: {key}", hint=f"known are {', '.join(KEYS)}")
        kind = KEYS[key][0]
        if not isinstance(given, kind) or kind is int and isinstance(given, bool):
            raise InvalidArgument(f"the config file {path}: {key} must be a {kind.__name__}, not {given!r}")
        found[key] = Setting(given, path)


def _from_text(variable: str, kind: type, text: str) -> Any:
    if kind is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise InvalidArgument(f"{variable}={text}: say true or false")
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise InvalidArgument(f"{variable}={text}: not a number") from None
    return text
