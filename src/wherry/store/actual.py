"""What a container is doing now: read from the run root, the exit record and the kernel. Nothing of it is in the database.

Files and their keys: docs/internals/monitor.md.
"""

from __future__ import annotations

import os

from wherry.kernel import process
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store
    from wherry.store.containers import ContainerRow

NEVER = "0001-01-01T00:00:00Z"


class Actual(Record):
    """`status` is docker's: created running paused restarting exited removing. Pids are 0 when there is no such process.

    Times are RFC 3339 text with nanoseconds, NEVER when unset. `killed` says that the monitor vanished without leaving an exit record.
    """

    status: str
    pid: int = 0
    pid_start: int = 0
    monitor_pid: int = 0
    monitor_start: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started: str = NEVER
    finished: str = NEVER
    restarts: int = 0
    stopping: bool = False
    plain_binds: tuple[str, ...] = ()
    killed: bool = False
    health: str = ""
    health_streak: int = 0

    @property
    def alive(self) -> bool:
        """A monitor is there: it runs, is paused, or waits for its next start."""
        return self.status in ("running", "paused", "restarting")


def read(store: Store, row: ContainerRow) -> Actual:
    """The state of one container: a handful of system calls."""
    state = state_file(store, row.id)
    if state:
        monitor_pid, monitor_start = pair(state.get("monitor", ""))
        if process.alive(monitor_pid, monitor_start):
            return _of_monitor(state, monitor_pid, monitor_start)
    record = _lines(store.path("containers", row.id, "exit"))
    if record:
        return _of_exit_record(record, "created" if row.wanted == "created" else "exited")
    if row.wanted == "created":
        return Actual(status="created")
    started = state.get("started", NEVER) if state else NEVER
    return Actual(status="exited", exit_code=137, started=started, finished=last_sign(store, row.id), killed=True)


def _of_monitor(state: dict[str, str], monitor_pid: int, monitor_start: int) -> Actual:
    pid, pid_start = pair(state.get("init", ""))
    status = state.get("status", "running")
    return Actual(
        status="running" if status == "stopping" else status,
        pid=pid,
        pid_start=pid_start,
        monitor_pid=monitor_pid,
        monitor_start=monitor_start,
        exit_code=_number(state.get("exit", "")),
        started=state.get("started", NEVER),
        finished=state.get("finished", NEVER),
        restarts=_number(state.get("restarts", "")),
        stopping=status == "stopping",
        plain_binds=tuple(v for k, v in state.items() if k.startswith("idmap")),
        health=state.get("health", ""),
        health_streak=_number(state.get("streak", "")),
    )


def _of_exit_record(record: dict[str, str], status: str) -> Actual:
    return Actual(
        status=status,
        exit_code=_number(record.get("code", "")),
        error=record.get("error", ""),
        oom_killed=record.get("oom") == "1",
        started=record.get("started") or NEVER,
        finished=record.get("finished") or NEVER,
        restarts=_number(record.get("restarts", "")),
    )


def write_exit(folder: str, *, code: int, error: str = "", started: str = "", finished: str = "", restarts: int = 0) -> None:
    """Write an exit record as the monitor does: staged, synced, renamed. For containers whose monitor couldn't."""
    text = (
        f"code={code}\noom=0\nerror={error.replace(chr(10), ' ')}\nstarted={started or NEVER}\n"
        f"finished={finished or NEVER}\nrestarts={restarts}\nsignal=0\n"
    )
    fd = os.open(f"{folder}/exit.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, os.fsencode(text))
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(f"{folder}/exit.tmp", f"{folder}/exit")


def state_file(store: Store, container_id: str) -> dict[str, str]:
    """The keys of <run>/<id>/state; {} when there is none."""
    return _lines(store.run_path(container_id, "state"))


def _lines(path: str) -> dict[str, str]:
    """A file of key=value lines; {} when there is none. Repeated keys get a number behind them."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        data = os.read(fd, 1 << 16)
    finally:
        os.close(fd)
    found: dict[str, str] = {}
    for line in os.fsdecode(data).split("\n"):
        key, equals, value = line.partition("=")
        if equals:
            found[key if key not in found else f"{key}.{len(found)}"] = value
    return found


def pair(text: str) -> tuple[int, int]:
    first, _, second = text.partition(" ")
    return _number(first), _number(second)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def last_sign(store: Store, container_id: str) -> str:
    """When a vanished monitor last wrote its state: the best that is known of the container's end."""
    from wherry.model import times

    for path in (store.run_path(container_id, "state"), store.path("containers", container_id)):
        try:
            return times.format_ns(os.stat(path).st_mtime_ns)
        except OSError:
            continue
    return NEVER
