"""--device HOST[:CONTAINER][:rwm]."""

from __future__ import annotations

from wherry.errors import InvalidArgument


def parse(text: str) -> dict[str, str]:
    """docker's {"PathOnHost", "PathInContainer", "CgroupPermissions"}. Raises InvalidArgument."""
    parts = text.split(":")
    host = parts[0]
    inside, permissions = host, "rwm"
    if len(parts) == 2:
        if _is_mode(parts[1]):
            permissions = parts[1]
        else:
            inside = parts[1]
    elif len(parts) == 3:
        inside, permissions = parts[1], parts[2]
    if len(parts) > 3 or not host or not inside or not _is_mode(permissions):
        raise InvalidArgument(f"invalid device specification: {text}")
    return {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": permissions}


def _is_mode(text: str) -> bool:
    return bool(text) and all(c in "rwm" for c in text) and len(set(text)) == len(text)
