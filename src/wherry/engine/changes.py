"""Changes of an image's config, written as Dockerfile instructions: `import -c` (moby, builder/dockerfile: BuildFromConfig)."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.model import duration, jsontext, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_SHELL = ["/bin/sh", "-c"]


def changed(changes: Iterable[str], base: dict[str, Any] | None = None) -> dict[str, Any]:
    """A config out of instructions, `base` changed by them where there is one. Raises InvalidArgument."""
    config: dict[str, Any] = {
        key: list(v) if isinstance(v, list) else dict(v) if isinstance(v, dict) else v for key, v in (base or {}).items()
    }
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        make = _INSTRUCTIONS.get(word.upper())
        if make is None:
            raise InvalidArgument(f"{word} is not a valid change command")
        if not rest.strip():
            raise InvalidArgument(f"{word.upper()} requires at least one argument")
        make(config, rest.strip())
    return config


def _array(rest: str) -> list[str] | None:
    if not rest.startswith("["):
        return None
    try:
        words = jsontext.loads(rest)
    except ValueError:
        return None
    return words if isinstance(words, list) and all(isinstance(w, str) for w in words) else None


def _argv(rest: str) -> list[str]:
    words = _array(rest)
    return [*_SHELL, rest] if words is None else words


def _split(rest: str) -> list[str]:
    import shlex

    try:
        return shlex.split(rest)
    except ValueError as error:
        raise InvalidArgument(f"Syntax error - {error} in {rest!r}") from error


def _pairs(word: str, rest: str) -> dict[str, str]:
    """KEY=VALUE …, or the older KEY VALUE."""
    words = _split(rest)
    if not words or "=" not in words[0]:
        key, blank, value = rest.partition(" ")
        if not blank:
            raise InvalidArgument(f"{word} must have two arguments")
        return {key: value.strip()}
    found = {}
    for pair in words:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidArgument(f"Syntax error - can't find = in {pair!r}. Must be of the form: name=value")
        if not key:
            raise InvalidArgument(f"{word} names can not be blank")
        found[key] = value
    return found


def _set(key: str) -> Callable[[dict[str, Any], str], None]:
    def change(config: dict[str, Any], rest: str) -> None:
        config[key] = rest

    return change


def _set_argv(key: str) -> Callable[[dict[str, Any], str], None]:
    def change(config: dict[str, Any], rest: str) -> None:
        config[key] = _argv(rest)

    return change


def _env(config: dict[str, Any], rest: str) -> None:
    pairs = _pairs("ENV", rest)
    kept = [e for e in config.get("Env", ()) if e.partition("=")[0] not in pairs]
    config["Env"] = kept + [f"{key}={value}" for key, value in pairs.items()]


def _label(config: dict[str, Any], rest: str) -> None:
    config.setdefault("Labels", {}).update(_pairs("LABEL", rest))


def _expose(config: dict[str, Any], rest: str) -> None:
    for text in rest.split():
        ports, _, protocol = text.partition("/")
        first, dash, last = ports.partition("-")
        if not first.isdigit() or dash and not last.isdigit() or (protocol or "tcp").lower() not in ("tcp", "udp", "sctp"):
            raise InvalidArgument(f"invalid containerPort: {text}")
        numbers = range(int(first), int(last or first) + 1)
        if not numbers or numbers[-1] > 65535 or numbers[0] == 0:
            raise InvalidArgument(f"invalid containerPort: {text}")
        for port in numbers:
            config.setdefault("ExposedPorts", {})[f"{port}/{(protocol or 'tcp').lower()}"] = {}


def _volume(config: dict[str, Any], rest: str) -> None:
    words = _array(rest)
    for path in rest.split() if words is None else words:
        if not path.strip():
            raise InvalidArgument("VOLUME specified can not be an empty string")
        config.setdefault("Volumes", {})[path] = {}


def _onbuild(config: dict[str, Any], rest: str) -> None:
    config.setdefault("OnBuild", []).append(rest)


def _workdir(config: dict[str, Any], rest: str) -> None:
    """Relative to the one before, as docker has it."""
    import posixpath

    path = posixpath.normpath(posixpath.join("/", config.get("WorkingDir", ""), rest))
    config["WorkingDir"] = "/" + path.lstrip("/")


def _stop_signal(config: dict[str, Any], rest: str) -> None:
    if signals.number(rest) is None:
        raise InvalidArgument(f"invalid signal: {rest}")
    config["StopSignal"] = rest


_TIMES = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod", "start-interval": "StartInterval"}


def _health(config: dict[str, Any], rest: str) -> None:
    check: dict[str, Any] = {}
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        name, equals, value = flag[2:].partition("=")
        if not equals or name not in (*_TIMES, "retries") or name == "retries" and not value.isdigit():
            raise InvalidArgument(f"Unknown flag: {flag}" if name not in (*_TIMES, "retries") else f"Missing a value on flag: --{name}")
        if name == "retries":
            check["Retries"] = int(value)
        else:
            check[_TIMES[name]] = duration.parse(value)
        rest = rest.strip()
    kind, _, command = rest.partition(" ")
    command = command.strip()
    if kind.upper() == "NONE" and not command:
        check = {"Test": ["NONE"]}
    elif kind.upper() == "CMD" and command:
        words = _array(command)
        check["Test"] = ["CMD-SHELL", command] if words is None else ["CMD", *words]
    elif kind.upper() == "CMD":
        raise InvalidArgument("Missing command after HEALTHCHECK CMD")
    else:
        raise InvalidArgument(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    config["Healthcheck"] = check


_INSTRUCTIONS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "CMD": _set_argv("Cmd"),
    "ENTRYPOINT": _set_argv("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _health,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stop_signal,
    "USER": _set("User"),
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
