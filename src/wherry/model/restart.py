"""--restart policies (docker/cli, opts: ParseRestartPolicy; moby, validateRestartPolicy)."""

from __future__ import annotations

from wherry.errors import InvalidArgument, UsageError


def parse(text: str) -> dict[str, object]:
    """docker's {"Name", "MaximumRetryCount"}. Raises UsageError, InvalidArgument with docker's words."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise UsageError("invalid restart policy format: no policy provided before colon")
    digits = count[1:] if count[:1] in ("+", "-") else count
    if count and not (digits.isascii() and digits.isdigit()):
        raise UsageError("invalid restart policy format: maximum retry count must be an integer")
    most = int(count or 0)
    if name not in ("", "no", "always", "unless-stopped", "on-failure"):
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if most and name != "on-failure":
        raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if most < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    return {"Name": name or "no", "MaximumRetryCount": most}
