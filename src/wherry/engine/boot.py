"""After a reboot: start what should be up. What docker's daemon does when it starts (moby, daemon.restore)."""

from __future__ import annotations

from wherry.engine import launch, modes
from wherry.errors import WherryError
from wherry.store import actual, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.engine import Engine
    from wherry.store.actual import Actual
    from wherry.store.containers import ContainerRow


def boot(engine: Engine) -> Iterator[tuple[str, WherryError | None]]:
    """Start them, the oldest first, those that join another's namespaces after it; (name, what went wrong) of each."""
    rows = [row for row in reversed(containers.everything(engine.store.db, with_record=True)) if _should_run(engine, row)]
    rows.sort(key=lambda row: bool(modes.joined_container(row.record()["HostConfig"])))
    for row in rows:
        try:
            launch.launch(engine, row, None)
        except WherryError as error:
            yield row.name, error
        else:
            yield row.name, None


def _should_run(engine: Engine, row: ContainerRow) -> bool:
    """`always` even after a `stop`, `unless-stopped` not, `on-failure` after a failure; never what was not started before."""
    state: Actual = actual.read(engine.store, row)
    if state.alive or row.wanted == "created":
        return False
    policy = row.record()["HostConfig"]["RestartPolicy"]["Name"]
    if policy == "always":
        return True
    if row.wanted != "running":
        return False
    return policy == "unless-stopped" or policy == "on-failure" and state.exit_code != 0
