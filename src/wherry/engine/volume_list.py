"""Listing volumes: filters, sizes, docker's document of one."""

from __future__ import annotations

import time

from wherry.engine.filtering import label_matches
from wherry.errors import InvalidArgument
from wherry.model import times
from wherry.store import treeop, volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.store import Store
    from wherry.store.volumes import VolumeRow


def chosen(filters: dict[str, list[str]]) -> Callable[[VolumeRow, list[str]], bool]:
    """A test for `volume ls`: dangling, driver, label, name. Values of a label must all hold, of the others one. Raises InvalidArgument."""
    for key, values in filters.items():
        if key not in ("dangling", "driver", "label", "name"):
            raise InvalidArgument(f"invalid filter '{key}'")
        if key == "dangling" and not all(v in ("true", "false", "1", "0") for v in values):
            raise InvalidArgument(f"invalid filter 'dangling={values[0]}'")
    patterns = _patterns(filters["name"]) if "name" in filters else []

    def test(row: VolumeRow, users: list[str]) -> bool:
        if "dangling" in filters and not any((v in ("true", "1")) != bool(users) for v in filters["dangling"]):
            return False
        if "driver" in filters and row.driver not in filters["driver"]:
            return False
        if patterns and not any(p(row.name) for p in patterns):
            return False
        return all(label_matches(row.labels(), v) for v in filters.get("label", ()))

    return test


def _patterns(values: list[str]) -> list[Callable[[str], object]]:
    import re

    try:
        return [re.compile(v).search for v in values]
    except re.error as error:
        raise InvalidArgument(f"invalid filter 'name={values[0]}': {error}") from error


def prunable(all: bool, filters: dict[str, list[str]]) -> Callable[[VolumeRow], bool]:
    """A test for `volume prune`: label, label!, all. docker's rule since API 1.42: anonymous ones only, unless all."""
    for key in filters:
        if key not in ("label", "label!", "all", "until"):
            raise InvalidArgument(f"invalid filter '{key}'")
    everything = all or filters.get("all", ["0"])[-1] in ("1", "true")
    until = min((times.parse_since(v, time.time_ns()) for v in filters.get("until", ())), default=None)

    def test(row: VolumeRow) -> bool:
        if not (row.anonymous or everything) or until is not None and row.created_ns >= until:
            return False
        labels = row.labels()
        if not all_match(labels, filters.get("label", [])):
            return False
        return not any(label_matches(labels, v) for v in filters.get("label!", ()))

    return test


def all_match(labels: dict[str, str], wanted: list[str]) -> bool:
    return all(label_matches(labels, v) for v in wanted)


def sizes(store: Store, rows: list[VolumeRow]) -> dict[str, int]:
    """Name → bytes on disk of the volumes that are folders of the store."""
    names = [row.name for row in rows if row.driver == "local" and row.options_text == "{}" and row.ready]
    found = treeop.disk_usage([volumes.data(store, name) for name in names])
    return {name: used for name, (used, _apparent, _entries) in zip(names, found)}


def document(store: Store, row: VolumeRow, *, size: bool) -> dict[str, Any]:
    """docker's keys; sizes in bytes."""
    from wherry.volume import drivers

    own: dict[str, Any] = {
        "Containers": volumes.users_of(store.db, row.name),
        "LastUsedAt": times.format_ns(volumes.used_ns(store, row.name)) if volumes.used_ns(store, row.name) else "",
        "Snapshots": [r[0] for r in store.db.rows("SELECT name FROM volume_snapshots WHERE volume = ? ORDER BY id", (row.name,))],
        **drivers.of(row.driver).inspect(store, row),
    }
    found: dict[str, Any] = {
        "CreatedAt": times.format_ns(row.created_ns),
        "Driver": row.driver,
        "Labels": row.labels() or None,
        "Mountpoint": volumes.data(store, row.name),
        "Name": row.name,
        "Options": row.options() or None,
        "Scope": "local",
        "Wherry": own,
    }
    if size:
        found["UsageData"] = {"Size": sizes(store, [row]).get(row.name, -1), "RefCount": len(own["Containers"])}
    return found
