"""`events`: what happened and what happens, filtered by docker's rules (moby, daemon/events/filter.go)."""

from __future__ import annotations

import time

from wherry.errors import InvalidArgument
from wherry.store import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from wherry.engine import Engine

    Event = dict[str, Any]
    Test = Callable[[Event], bool]

# How long something may have happened before a follower says so, in seconds.
LOOK_EVERY_S = 0.05
_ACTORS = ("volume", "network", "plugin", "node", "service", "secret", "config")
_FUZZY = ("health_status", "exec_create", "exec_start", "exec_die")


def stream(
    engine: Engine, *, since_ns: int | None, until_ns: int | None, filters: dict[str, list[str]], follow: bool = True
) -> Iterator[Event]:
    """Events from `since_ns` on (None: from now) up to `until_ns` (None: for ever, unless `follow` is false)."""
    test = matcher(filters)
    now = time.time_ns()
    with events.Follower(engine.store) as follower:
        last = since_ns if since_ns is not None else now
        seen = 0
        if since_ns is not None:
            for event in events.kept(engine.store):
                at = int(event.get("timeNano") or 0)
                seen = max(seen, at)
                if since_ns <= at and (until_ns is None or at <= until_ns) and test(event):
                    yield event
        while follow and (until_ns is None or time.time_ns() <= until_ns + int(LOOK_EVERY_S * 2e9)):
            for event in follower.more():
                at = int(event.get("timeNano") or 0)
                # What came between opening and reading was in both.
                if at > seen and at >= last and (until_ns is None or at <= until_ns) and test(event):
                    yield event
            if until_ns is not None and time.time_ns() > until_ns:
                return
            time.sleep(LOOK_EVERY_S)


def matcher(filters: dict[str, list[str]]) -> Test:
    """Values of one key are alternatives, different keys must all hold. Raises InvalidArgument for an unknown key."""
    tests = [_test(key, values) for key, values in filters.items()]
    return lambda event: all(test(event) for test in tests)


def _test(key: str, values: list[str]) -> Test:
    if key == "event":
        return lambda event: any(_is_action(str(event["Action"]), value) for value in values)
    if key == "type":
        return lambda event: event["Type"] in values
    if key == "scope":
        return lambda event: event.get("scope", "local") in values
    if key == "label":
        return lambda event: all(_has_label(event, value) for value in values)
    if key == "image":
        return lambda event: any(_is_image(event, value) for value in values)
    if key == "daemon":
        return lambda event: event["Type"] == "daemon"
    if key == "container":
        return lambda event: any(_is_actor(event, key, value, begins=True) for value in values)
    if key in _ACTORS:
        return lambda event: any(_is_actor(event, key, value, begins=True) for value in values)
    raise InvalidArgument(
        f"invalid filter '{key}'", hint=f"known are container, daemon, event, image, label, scope, type, {', '.join(_ACTORS)}"
    )


def _is_action(action: str, value: str) -> bool:
    if value in _FUZZY or value.startswith("health_status"):
        return action.startswith(value)
    return action == value


def _has_label(event: Event, value: str) -> bool:
    name, equals, wanted = value.partition("=")
    attributes = event["Actor"].get("Attributes") or {}
    return name in attributes and (not equals or attributes[name] == wanted)


def _is_actor(event: Event, kind: str, value: str, *, begins: bool) -> bool:
    if event["Type"] != kind:
        return False
    attributes = event["Actor"].get("Attributes") or {}
    names = (event["Actor"]["ID"], attributes.get("name") or "")
    return any(name.startswith(value) if begins else name == value for name in names if name)


def _is_image(event: Event, value: str) -> bool:
    attributes = event["Actor"].get("Attributes") or {}
    if event["Type"] == "image":
        names = [event["Actor"]["ID"], attributes.get("name") or ""]
    elif event["Type"] == "container":
        names = [attributes.get("image") or ""]
    else:
        return False
    return any(name == value or _without_tag(name) == value for name in names if name)


def _without_tag(name: str) -> str:
    slash = name.rfind("/")
    colon = name.rfind(":")
    return name[:colon] if colon > slash else name
