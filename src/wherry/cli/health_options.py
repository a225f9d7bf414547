"""The flags of health checks, and docker's Config.Healthcheck out of them."""

from __future__ import annotations

from wherry.cli.options import Option, Parsed
from wherry.errors import InvalidArgument, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_O = Option


def _duration(text: str) -> int:
    from wherry.model import duration

    return duration.parse(text)


def _action(text: str) -> str:
    if text not in ("none", "kill", "restart", "stop"):
        raise InvalidArgument(f'invalid on-failure action for health check: "{text}"; use none, kill, restart or stop')
    return text


OPTIONS: tuple[Option, ...] = (
    _O("health-cmd", help="Command to run to check health"),
    _O("health-interval", placeholder="duration", default=0, check=_duration, help="Time between running the check (ms|s|m|h) (default 0s)"),
    _O("health-on-failure", default="none", check=_action, help="What to do once the container is unhealthy: none, kill, restart or stop"),
    _O("health-retries", kind="int", default=0, help="Consecutive failures needed to report unhealthy"),
    _O(
        "health-start-interval", placeholder="duration", default=0, check=_duration,
        help="Time between running the check during the start period (ms|s|m|h) (default 0s)",
    ),
    _O(
        "health-start-period", placeholder="duration", default=0, check=_duration,
        help="Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)",
    ),
    _O("health-timeout", placeholder="duration", default=0, check=_duration, help="Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
    _O("no-healthcheck", kind="bool", help="Disable any container-specified HEALTHCHECK"),
)  # fmt: skip


def healthcheck(parsed: Parsed) -> dict[str, Any] | None:
    """docker's rules (docker/cli, opts in container/opts.go). Raises UsageError."""
    given = [o.name for o in OPTIONS if o.name in parsed.given and o.name not in ("no-healthcheck", "health-on-failure")]
    if parsed.no_healthcheck:
        if given:
            raise UsageError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not given:
        return None
    for name in ("interval", "timeout", "start_period", "start_interval"):
        if getattr(parsed, f"health_{name}") < 0:
            raise UsageError(f"--health-{name.replace('_', '-')} cannot be negative")
    if parsed.health_retries < 0:
        raise UsageError("--health-retries cannot be negative")
    found = {
        "Test": _test(parsed.health_cmd),
        "Interval": parsed.health_interval,
        "Timeout": parsed.health_timeout,
        "StartPeriod": parsed.health_start_period,
        "StartInterval": parsed.health_start_interval,
        "Retries": parsed.health_retries,
    }
    return {key: value for key, value in found.items() if value} or None


def _test(command: str) -> list[str]:
    """Text for a shell; a JSON list, as podman takes it, is a command of words; `none` is no check."""
    if not command:
        return []
    if command.startswith("["):
        from wherry.model import jsontext

        try:
            words = jsontext.loads(command)
        except ValueError:
            words = None
        if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
            return words if words[0] in ("CMD", "CMD-SHELL", "NONE") else ["CMD", *words]
    return ["NONE"] if command == "none" else ["CMD-SHELL", command]
