"""--restart policies."""

from __future__ import annotations

from wherry.errors import InvalidArgument


def parse(text: str) -> dict[str, object]:
    """docker's {"Name", "MaximumRetryCount"}. Raises InvalidArgument with docker's words."""
    if not text:
        return {"Name": "no", "MaximumRetryCount": 0}
    name, colon, count = text.partition(":")
    if name not in ("no", "always", "unless-stopped", "on-failure"):
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if colon and name != "on-failure":
        raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if colon and not count.isdigit():
        raise InvalidArgument(f"invalid restart policy format: maximum retry count must be an integer: {count!r}")
    return {"Name": name, "MaximumRetryCount": int(count) if colon else 0}
