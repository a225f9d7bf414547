"""`config` of a working container: what its image will say. Buildah's rules (cmd/buildah/config.go): a name with "-" behind it goes."""

from __future__ import annotations

import shlex

from wherry.errors import InvalidArgument
from wherry.model import duration, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine.working import Working

_TIMES = {"interval": "Interval", "timeout": "Timeout", "start_period": "StartPeriod", "start_interval": "StartInterval"}


def change(working: Working, wishes: dict[str, Any]) -> None:
    """Carry out `wishes`, by option name with underscores; only what was given is in it. Raises InvalidArgument."""
    for key, value in wishes.items():
        _CHANGES[key](working, value)
    working.save()


def _plain(key: str) -> Any:
    def set_it(working: Working, value: str) -> None:
        working.config[key] = value

    return set_it


def _state(key: str) -> Any:
    def set_it(working: Working, value: str) -> None:
        working.state[key] = value

    return set_it


def _env(working: Working, entries: list[str]) -> None:
    for entry in entries:
        name, equals, _value = entry.partition("=")
        kept = [e for e in working.config.get("Env") or [] if e.partition("=")[0] != name]
        if equals:
            working.config["Env"] = [*kept, entry]
        elif entry == "-":
            working.config["Env"] = []
        elif entry.endswith("-"):
            working.config["Env"] = [e for e in kept if e.partition("=")[0] != entry[:-1]]
        else:
            raise InvalidArgument(f'setting env {entry!r}: no value given, as in "{entry}=value"')


def _pairs(get: Any) -> Any:
    def set_it(working: Working, entries: list[str]) -> None:
        found = get(working)
        for entry in entries:
            name, equals, value = entry.partition("=")
            if entry == "-":
                found.clear()
            elif not equals and name.endswith("-"):
                found.pop(name[:-1], None)
            else:
                found[name] = value

    return set_it


def _labels(working: Working) -> dict[str, str]:
    if not working.config.get("Labels"):
        working.config["Labels"] = {}
    found: dict[str, str] = working.config["Labels"]
    return found


def _annotations(working: Working) -> dict[str, str]:
    found: dict[str, str] = working.state["annotations"]
    return found


def _keys(key: str, suffix: str = "") -> Any:
    def set_it(working: Working, entries: list[str]) -> None:
        found = dict(working.config.get(key) or {})
        for entry in entries:
            if entry == "-":
                found.clear()
            elif entry.endswith("-"):
                found.pop(_full(entry[:-1], suffix), None)
            else:
                found[_full(entry, suffix)] = {}
        working.config[key] = found

    return set_it


def _full(entry: str, suffix: str) -> str:
    return entry if not suffix or "/" in entry else entry + suffix


def _entrypoint(working: Working, text: str) -> None:
    if not text.strip():
        working.config["Entrypoint"] = None
        return
    # As buildah and docker: what the image ran before makes no sense behind another entry point.
    working.config["Cmd"] = None
    working.config["Entrypoint"] = _array(text) or ["/bin/sh", "-c", text]


def _cmd(working: Working, text: str) -> None:
    working.config["Cmd"] = (_array(text) or _words(text)) if text.strip() else None


def _shell(working: Working, text: str) -> None:
    working.config["Shell"] = _words(text)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidArgument(f"parsing {text!r}: {error}") from None


def _array(text: str) -> list[str]:
    try:
        found = jsontext.loads(text)
    except ValueError:
        return []
    return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else []


def _onbuild(working: Working, entries: list[str]) -> None:
    found = list(working.config.get("OnBuild") or [])
    for entry in entries:
        if entry == "-":
            found = []
        elif entry.endswith("-") and entry[:-1] in found:
            found.remove(entry[:-1])
        else:
            found.append(entry)
    working.config["OnBuild"] = found


def _health(working: Working, text: str) -> None:
    check = working.config.setdefault("Healthcheck", {}) or {}
    word, _, rest = text.strip().partition(" ")
    if word.upper() == "NONE" and not rest:
        check = {"Test": ["NONE"]}
    elif word.upper() in ("CMD", "CMD-SHELL"):
        argv = _array(rest) or (_words(rest) if word.upper() == "CMD" else [])
        check["Test"] = ["CMD", *argv] if argv else ["CMD-SHELL", rest]
    else:
        check["Test"] = ["CMD-SHELL", text] if text else []
    working.config["Healthcheck"] = check


def _health_time(key: str) -> Any:
    def set_it(working: Working, text: str) -> None:
        if not working.config.get("Healthcheck"):
            working.config["Healthcheck"] = {}
        working.config["Healthcheck"][key] = int(text) if key == "Retries" else duration.parse(text)

    return set_it


def _unset_labels(working: Working, names: list[str]) -> None:
    for name in names:
        _labels(working).pop(name, None)


def _unset_annotations(working: Working, names: list[str]) -> None:
    for name in names:
        _annotations(working).pop(name, None)


_CHANGES: dict[str, Any] = {
    "annotation": _pairs(_annotations),
    "arch": _state("architecture"),
    "author": _state("author"),
    "cmd": _cmd,
    "comment": _state("comment"),
    "created_by": _state("created_by"),
    "domainname": _plain("Domainname"),
    "entrypoint": _entrypoint,
    "env": _env,
    "healthcheck": _health,
    "healthcheck_retries": _health_time("Retries"),
    **{f"healthcheck_{name}": _health_time(key) for name, key in _TIMES.items()},
    "history_comment": _state("history_comment"),
    "hostname": _plain("Hostname"),
    "label": _pairs(_labels),
    "onbuild": _onbuild,
    "os": _state("os"),
    "os_feature": lambda working, values: working.state.update({"os.features": values}),
    "os_version": _state("os.version"),
    "port": _keys("ExposedPorts", "/tcp"),
    "shell": _shell,
    "stop_signal": _plain("StopSignal"),
    "unsetannotation": _unset_annotations,
    "unsetlabel": _unset_labels,
    "user": _plain("User"),
    "variant": _state("variant"),
    "volume": _keys("Volumes"),
    "workingdir": _plain("WorkingDir"),
}
# Buildah sets the entry point before the command, whatever their order.
ORDER = ("entrypoint", "cmd")
