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
