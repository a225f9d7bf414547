"""The run root was deleted while containers ran (a clean-up of /tmp, a logout): their monitors are found by the kernel's list of
processes, get their folders back and are asked to settle in them again. What has no monitor any more leaves no control group.
"""

from __future__ import annotations

import os

from wherry.kernel import cgroup, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store

SIGUSR1 = 10
_PATIENCE_S = 3.0


def regain(store: Store) -> None:
    """By the first command on a new run root. Costs one walk through /proc."""
    ids = {container_id for (container_id,) in store.db.rows("SELECT id FROM containers")}
    found = {}
    for container_id, pid in _monitors(store):
        start = process.start_time(pid)
        if container_id not in ids or not start:
            continue
        for part in ("", "/mnt", "/exec"):
            try:
                os.mkdir(store.run_path(container_id) + part, 0o700)
            except FileExistsError:
                continue  # another command is at it as well
        if process.kill(pid, start, SIGUSR1):
            found[f"{pid}.{start}.{container_id}"] = container_id
    _wait(store, set(found))
    for container_id in set(cgroup.existing()) & ids - set(found.values()):
        cgroup.remove(container_id)


def _monitors(store: Store) -> list[tuple[str, int]]:
    """(container's id, pid) of every process that performs a plan out of this run root."""
    begin = os.fsencode(store.run) + b"/"
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid != store.uid:
                continue
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read(1 << 16).split(b"\0")
        except OSError:
            continue
        if len(words) > 2 and words[1] == b"run" and words[2].startswith(begin) and words[2].endswith(b"/plan"):
            container_id = os.fsdecode(words[2][len(begin) : -len(b"/plan")])
            if len(container_id) == 64:
                found.append((container_id, int(name)))
    return found


def _wait(store: Store, names: set[str]) -> None:
    """Until all are among the living again, have ended, or have had enough time."""
    import time

    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        missing = names - set(os.listdir(store.run_path("live")))
        if not any(process.alive(*map(int, name.split(".")[:2])) for name in missing):
            return
        time.sleep(0.005)
