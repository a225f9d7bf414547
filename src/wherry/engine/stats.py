"""`stats`: figures of several containers, taken twice for what is a rate."""

from __future__ import annotations

import time

from wherry.engine import figures
from wherry.model.record import Record
from wherry.store import actual, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.engine import Engine
    from wherry.engine.figures import Sample
    from wherry.store.actual import Actual
    from wherry.store.containers import ContainerRow

# docker takes a second between two looks. The kernel counts in nanoseconds, so that less is exact as well.
FIRST_LOOK_S = 0.25


class Usage(Record):
    """A line of `stats`. `sample` is None for a container that doesn't run; `cpu_percent` counts one processor as 100."""

    id: str
    name: str
    cpu_percent: float
    sample: Sample | None


def stats(engine: Engine, names: list[str], *, all: bool = False, stream: bool = True, interval_s: float = 1.0) -> Iterator[list[Usage]]:
    """All usages, once (`stream=False`) or every `interval_s` seconds. Without names: what runs, newest first; with `all` the others too.

    Raises NotFound for a name that isn't there at the beginning.
    """
    given = [containers.find(engine.store.db, name).id for name in names]
    before: dict[str, Sample] = {}
    _look(engine, given, all, before)
    time.sleep(min(FIRST_LOOK_S, interval_s))
    while True:
        yield _look(engine, given, all, before)
        if not stream:
            return
        time.sleep(interval_s)


def _look(engine: Engine, given: list[str], all: bool, before: dict[str, Sample]) -> list[Usage]:
    rows = containers.everything(engine.store.db, with_record=True)
    if given:
        by_id = {row.id: row for row in rows}
        rows = [by_id[i] for i in given if i in by_id]
    found = []
    for row in rows:
        state = actual.read(engine.store, row)
        if not (given or all or state.alive):
            continue
        found.append(_usage(row, state, before))
    return found


def _usage(row: ContainerRow, state: Actual, before: dict[str, Sample]) -> Usage:
    if not state.pid:
        before.pop(row.id, None)
        return Usage(row.id, row.name, 0.0, None)
    mode = row.record()["HostConfig"]["NetworkMode"]
    now = figures.take(row.id, state.pid, network=mode != "host")
    last = before.get(row.id)
    before[row.id] = now
    percent = 0.0
    if last is not None and now.at_ns > last.at_ns and now.cpu_ns >= last.cpu_ns >= 0:
        percent = (now.cpu_ns - last.cpu_ns) / (now.at_ns - last.at_ns) * 100
    return Usage(row.id, row.name, percent, now)
