"""Configuration files of other programs: read with patience for what we don't know, none for what can't be read."""

from __future__ import annotations

import os

from wherry.errors import HostError
from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def read_toml(path: str) -> dict[str, Any]:
    """A TOML file as a dictionary, {} when it is missing. Raises HostError."""
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HostError(f"{path} can't be read: {error}", hint="mend it or move it away") from error


def read_json(path: str) -> dict[str, Any]:
    """A JSON object, {} when the file is missing or empty. Raises HostError."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        found = jsontext.loads(data) if data.strip() else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HostError(f"{path} can't be read: {error}", hint="mend it or move it away") from error
    if not isinstance(found, dict):
        raise HostError(f"{path} can't be read: it is no JSON object", hint="mend it or move it away")
    return found


def home() -> str:
    """The user's home folder, "" when none is known."""
    found = os.environ.get("HOME", "")
    if not found.startswith("/"):
        import pwd

        try:
            found = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            return ""
    return found


def config_home() -> str:
    found = os.environ.get("XDG_CONFIG_HOME", "")
    return found if found.startswith("/") else home() + "/.config"
