"""Filters of `ps` and `prune`: docker's rules. Values of one key are alternatives, different keys must all hold."""

from __future__ import annotations

import time

from wherry.errors import InvalidArgument, Unsupported
from wherry.store import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.engine import Engine
    from wherry.store.actual import Actual
    from wherry.store.containers import ContainerRow

    Test = Callable[[ContainerRow, Actual], bool]

STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_LATER = ("publish", "expose", "network")


def for_list(engine: Engine, filters: dict[str, list[str]]) -> Test:
    """A test for `ps`. Raises InvalidArgument for an unknown filter or value."""
    tests = [_test(engine, key, values) for key, values in filters.items()]
    return lambda row, state: all(test(row, state) for test in tests)


def shows_stopped(filters: dict[str, list[str]]) -> bool:
    """Whether the filters ask for containers that don't run, so that `-a` is implied."""
    return "status" in filters or "exited" in filters


def _test(engine: Engine, key: str, values: list[str]) -> Test:
    if key == "id":
        return lambda row, _state: any(row.id.startswith(v) for v in values)
    if key == "name":
        return _name_test(values)
    if key == "label":
        return lambda row, _state: all(label_matches(row.labels(), v) for v in values)
    if key == "status":
        for value in values:
            if value not in STATES:
                raise InvalidArgument(f"invalid filter 'status={value}'")
        return lambda _row, state: state.status in values
    if key == "exited":
        codes = [_number(key, v) for v in values]
        return lambda _row, state: state.status == "exited" and state.exit_code in codes
    if key == "ancestor":
        wanted = {_image_id(engine, v) for v in values}
        return lambda row, _state: row.image_id in wanted
    if key in ("before", "since"):
        limits = [containers.find(engine.store.db, v).created_ns for v in values]
        if key == "before":
            return lambda row, _state: any(row.created_ns < at for at in limits)
        return lambda row, _state: any(row.created_ns > at for at in limits)
    if key == "volume":
        return lambda row, _state: any(_mounts(row, v) for v in values)
    if key == "health":
        for value in values:
            if value not in ("starting", "healthy", "unhealthy", "none"):
                raise InvalidArgument(f"invalid filter 'health={value}'")
        return lambda _row, state: (state.health or "none") in values
    if key == "is-task":
        if values[-1] not in ("true", "false", "1", "0"):
            raise InvalidArgument(f"invalid filter 'is-task={values[-1]}'")
        return lambda _row, _state: values[-1] in ("false", "0")
    if key == "isolation":
        return lambda _row, _state: any(v in ("", "default") for v in values)
    if key in _LATER:
        raise Unsupported(f"filter {key} is not supported yet")
    raise InvalidArgument(f"invalid filter '{key}'")


def _mounts(row: ContainerRow, wanted: str) -> bool:
    """A volume's name, or the path at which something is mounted."""
    mounts = row.record().get("Mounts") or ()
    return any(wanted == (m["source"] if m["type"] == "volume" else None) or wanted == m["target"] for m in mounts)


def _name_test(values: list[str]) -> Test:
    import re

    try:
        patterns = [re.compile(v) for v in values]
    except re.error as error:
        raise InvalidArgument(f"invalid filter 'name={values[0]}': {error}") from error
    return lambda row, _state: any(p.search(row.name) or p.search("/" + row.name) for p in patterns)


def _image_id(engine: Engine, name: str) -> str:
    from wherry.errors import NotFound

    try:
        return engine.images.get(name).id
    except NotFound:
        return ""


def _number(key: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise InvalidArgument(f"invalid filter '{key}={value}'") from None


def label_matches(labels: dict[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def for_prune(filters: dict[str, list[str]]) -> Callable[[int, dict[str, str]], bool]:
    """A test (creation in ns, labels) for the prune commands: until, label, label!. Raises InvalidArgument."""
    from wherry.model import times

    until: int | None = None
    for key, values in filters.items():
        if key == "until":
            until = min(times.parse_since(v, time.time_ns()) for v in values)
        elif key not in ("label", "label!"):
            raise InvalidArgument(f"invalid filter '{key}'")
    want = filters.get("label", [])
    refuse = filters.get("label!", [])

    def chosen(created_ns: int, labels: dict[str, str]) -> bool:
        if until is not None and created_ns >= until:
            return False
        return all(label_matches(labels, w) for w in want) and not any(label_matches(labels, r) for r in refuse)

    return chosen
