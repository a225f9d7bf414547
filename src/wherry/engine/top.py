"""`top`: the processes of a container as the host sees them, docker's rule. Without options no `ps` is needed."""

from __future__ import annotations

import os
import time

from wherry.engine import figures
from wherry.errors import Conflict, HostError, InvalidArgument
from wherry.kernel import cgroup
from wherry.model.record import Record
from wherry.store import actual, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine import Engine

_TICKS = os.sysconf("SC_CLK_TCK")


class Processes(Record):
    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def top(engine: Engine, name: str, options: list[str]) -> Processes:
    """`options` are those of the host's `ps`; without any, what `ps -ef` shows. Raises Conflict (not running), InvalidArgument."""
    row = containers.find(engine.store.db, name)
    state = actual.read(engine.store, row)
    if state.status == "restarting":
        raise Conflict(f"Container {row.id} is restarting, wait until the container is running")
    if not state.pid:
        raise Conflict(f"container {row.id} is not running")
    pids = figures.processes(row.id, state.pid)
    if options:
        return _of_ps(options, set(pids))
    titles = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
    rows = [_row(pid) for pid in pids]
    return Processes(titles, tuple(r for r in rows if r))


def _row(pid: int) -> tuple[str, ...]:
    """A line of `ps -ef`; () for a process that has just ended."""
    text = cgroup.read(f"/proc/{pid}/stat")
    end = text.rfind(")")
    fields = text[end + 2 :].split()
    if len(fields) < 20:
        return ()
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
        words = _words(pid)
    except OSError:
        return ()
    used_s = (int(fields[11]) + int(fields[12])) / _TICKS
    age_s = max(0.01, float(cgroup.read("/proc/uptime").split()[0]) - int(fields[19]) / _TICKS)
    command = words or f"[{text[text.find('(') + 1 : end]}]"
    return (
        _user(uid),
        str(pid),
        fields[1],
        str(min(99, int(used_s * 100 / age_s))),
        _started(age_s),
        _tty(int(fields[4])),
        _clock(used_s),
        command,
    )


def _words(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return os.fsdecode(file.read(1 << 17).rstrip(b"\0").replace(b"\0", b" "))


def _user(uid: int) -> str:
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
    return name if len(name) <= 8 else str(uid)  # ps prints the number where a name is too long


def _started(age_s: float) -> str:
    began = time.localtime(time.time() - age_s)
    return time.strftime("%H:%M" if age_s < 86400 else "%b%d", began)


def _tty(number: int) -> str:
    if not number:
        return "?"
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    return f"pts/{minor + (major - 136) * 256}" if 136 <= major < 144 else f"tty{minor}" if major == 4 and minor < 64 else "?"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:02d}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def _of_ps(options: list[str], pids: set[int]) -> Processes:
    """The host's `ps` with these options, its lines of our processes. Raises HostError, InvalidArgument."""
    import subprocess

    try:
        # As docker does: those processes by name, or all of them where this ps has no -q.
        done = subprocess.run(["ps", *options, "-q" + ",".join(map(str, sorted(pids)))], capture_output=True, timeout=30)
        if done.returncode:
            done = subprocess.run(["ps", *options], capture_output=True, timeout=30)
    except FileNotFoundError:
        raise HostError(
            "options of `top` are those of the host's ps, and there is none", hint="install procps, or leave the options out"
        ) from None
    if done.returncode:
        raise InvalidArgument(f"ps: {os.fsdecode(done.stderr).strip()}")
    lines = os.fsdecode(done.stdout).splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output")
    at = titles.index("PID")
    rows = []
    for line in lines[1:]:
        # The last column may hold blanks.
        words = line.split(None, len(titles) - 1)
        if len(words) > at and words[at].isdigit() and int(words[at]) in pids:
            rows.append(tuple(words) + ("",) * (len(titles) - len(words)))
    return Processes(tuple(titles), tuple(rows))
