"""--device HOST[:CONTAINER][:rwm] (docker/cli, opts: validateLinuxPath)."""

from __future__ import annotations

from wherry.errors import UsageError


def parse(text: str) -> dict[str, str]:
    """docker's {"PathOnHost", "PathInContainer", "CgroupPermissions"}. Raises UsageError."""
    parts = text.split(":")
    host = parts[0]
    if len(parts) > 3 or not host:
        raise UsageError(f"bad format for path: {text}")
    inside, permissions = host, "rwm"
    if len(parts) == 2 and _is_mode(parts[1]):
        permissions = parts[1]
    elif len(parts) > 1:
        inside = parts[1]
    if len(parts) == 3:
        permissions = parts[2]
        if not _is_mode(permissions):
            raise UsageError(f"bad mode specified: {permissions}")
    if not inside.startswith("/"):
        raise UsageError(f"{inside} is not an absolute path")
    return {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": permissions}


def _is_mode(text: str) -> bool:
    return bool(text) and all(c in "rwm" for c in text) and len(set(text)) == len(text)


def is_cdi(text: str) -> bool:
    """Whether it is a name of the Container Device Interface, vendor.com/class=name, and no path."""
    kind, equals, name = text.partition("=")
    return bool(equals and name) and not text.startswith("/") and kind.count("/") == 1


def gpus(text: str) -> str:
    """--gpus all | N | device=NAME[,NAME…]. Raises UsageError."""
    if text != "all" and not text.isdigit() and not text.strip('"').startswith("device="):
        raise UsageError(f"invalid count: {text!r}: it is all, a number, or device=NAME")
    return text


def requests(texts: list[str], wanted_gpus: str) -> list[dict[str, object]]:
    """docker's DeviceRequests of --device and --gpus."""
    found: list[dict[str, object]] = []
    named = [text for text in texts if is_cdi(text)]
    if named:
        found.append({"Driver": "cdi", "Count": 0, "DeviceIDs": named, "Capabilities": None, "Options": {}})
    if wanted_gpus:
        names = wanted_gpus.strip('"').removeprefix("device=").split(",") if "device=" in wanted_gpus else None
        count = 0 if names else -1 if wanted_gpus == "all" else int(wanted_gpus)
        found.append({"Driver": "", "Count": count, "DeviceIDs": names, "Capabilities": [["gpu"]], "Options": {}})
    return found
