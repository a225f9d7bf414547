"""A container's config out of what the user asked and what the image says: docker's rules (moby, daemon/commit.go `merge`)."""

from __future__ import annotations

from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def merged_config(user: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """The container's Config. `user` wins over `image`; lists and maps are joined. Raises InvalidArgument without a command."""
    config = dict(user)
    for key in ("User", "WorkingDir", "StopSignal"):
        config[key] = user.get(key) or image.get(key) or ""
    if not config["StopSignal"]:
        del config["StopSignal"]
    for key in ("ExposedPorts", "Volumes", "Labels"):
        joined = dict(image.get(key) or {}) | dict(user.get(key) or {})
        config[key] = joined if joined or key == "Labels" else None
    named = {entry.partition("=")[0] for entry in user.get("Env") or ()}
    inherited = [entry for entry in image.get("Env") or () if entry.partition("=")[0] not in named]
    config["Env"] = [*(user.get("Env") or ()), *inherited]
    _healthcheck(config, image)
    _command(config, user, image)
    return config


def _healthcheck(config: dict[str, Any], image: dict[str, Any]) -> None:
    """What the user leaves out of a health check is the image's."""
    given = config.pop("Healthcheck", None) or {}
    found = dict(image.get("Healthcheck") or {}) | {key: value for key, value in given.items() if value}
    if found.get("Test"):
        config["Healthcheck"] = found


def _command(config: dict[str, Any], user: dict[str, Any], image: dict[str, Any]) -> None:
    entrypoint = user.get("Entrypoint")
    command = user.get("Cmd")
    if not entrypoint:
        if not command:
            command = image.get("Cmd")
        if entrypoint is None:
            entrypoint = image.get("Entrypoint")
    if entrypoint == [""]:
        entrypoint = None
    config["Entrypoint"] = list(entrypoint) if entrypoint else None
    config["Cmd"] = list(command) if command else None
    if not entrypoint and not command:
        raise InvalidArgument("no command specified", exit_code=125)


def argv(config: dict[str, Any]) -> list[str]:
    """What the container executes: entrypoint and command."""
    return [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]


def command_text(words: list[str]) -> str:
    """docker's COMMAND column: words with a blank are put in single quotes, bytes that are no UTF-8 shown as question marks."""
    text = " ".join(f"'{w}'" if " " in w and i else w for i, w in enumerate(words))
    return text.encode("utf-8", "replace").decode()


def environment(config: dict[str, Any], hostname: str, *, tty: bool) -> list[str]:
    """The process's environment: docker's own variables, then Config.Env; later ones win and keep the place of the first.

    An entry without "=" takes its variable away.
    """
    base = ["PATH=" + DEFAULT_PATH, "HOSTNAME=" + hostname]
    if tty:
        base.append("TERM=xterm")
    return overlaid(base, config.get("Env") or ())


def overlaid(base: list[str], changes: Any) -> list[str]:
    order: dict[str, str] = {}
    for entry in base:
        order[entry.partition("=")[0]] = entry
    for entry in changes:
        key, equals, _value = entry.partition("=")
        if equals:
            order[key] = entry
        else:
            order.pop(key, None)
    return list(order.values())
