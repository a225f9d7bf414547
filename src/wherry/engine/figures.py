"""A container's use of the machine, from the kernel's own figures: its control groups, or its processes where it has none."""

from __future__ import annotations

import os
import time

from wherry.kernel import cgroup
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.kernel.cgroup import Group

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Sample(Record):
    """Figures of one moment. Times in nanoseconds, sizes in bytes; -1 where the kernel doesn't tell.

    `memory_limit` is the machine's memory where there is no limit. Pressures: the share of the last ten seconds, in per cent, in which
    some process of the container waited. `throttled_ns`: how long it waited for its own CPU limit since it was started.
    """

    at_ns: int
    cpu_ns: int
    memory: int
    memory_limit: int
    pids: int
    pids_limit: int
    received: int
    sent: int
    read: int
    written: int
    throttled_ns: int = -1
    oom_kills: int = -1
    cpu_pressure: float = -1
    memory_pressure: float = -1
    io_pressure: float = -1


def take(container_id: str, pid: int, *, network: bool) -> Sample:
    """The figures of now. `pid`: its first process. `network`: its network is its own."""
    groups = [group for group in cgroup.places(container_id) if os.path.isdir(group[1])]
    received, sent = _network(pid) if network else (0, 0)
    at = time.monotonic_ns()
    total = cgroup.total_memory()
    if not groups:
        cpu, memory, pids = _of_processes(pid)
        return Sample(at, cpu, memory, total, pids, -1, received, sent, -1, -1)
    v2 = groups[0][0] == 2
    memory, limit = _memory(cgroup.of_controller(groups, "memory")[0], v2=v2)
    read, written = _disks(cgroup.of_controller(groups, "io" if v2 else "blkio")[0], v2=v2)
    counted = cgroup.of_controller(groups, "pids")[0]
    pressure = cgroup.of_controller(groups, "pressure")[0]
    return Sample(
        at,
        _cpu_ns(groups, v2=v2),
        memory,
        min(limit, total) if limit > 0 else total,
        _number(f"{counted}/pids.current"),
        _number(f"{counted}/pids.max"),
        received,
        sent,
        read,
        written,
        _throttled_ns(cgroup.of_controller(groups, "cpu")[0]),
        oom_kills(groups),
        _pressure(f"{pressure}/cpu.pressure"),
        _pressure(f"{pressure}/memory.pressure"),
        _pressure(f"{pressure}/io.pressure"),
    )


def _number(path: str) -> int:
    text = cgroup.read(path)
    return int(text) if text.isdigit() else -1


def pairs(text: str) -> dict[str, int]:
    """The kernel's "name number" lines."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            found[name] = int(value)
    return found


def _cpu_ns(groups: list[Group], *, v2: bool) -> int:
    if not v2:
        # The two are one hierarchy on many hosts, and then only one of them is listed.
        folder = cgroup.of_controller(groups, "cpuacct")[0] or cgroup.of_controller(groups, "cpu")[0]
        return _number(folder + "/cpuacct.usage")
    return pairs(cgroup.read(groups[0][1] + "/cpu.stat")).get("usage_usec", -1) * 1000


def _throttled_ns(folder: str) -> int:
    found = pairs(cgroup.read(folder + "/cpu.stat"))
    return found["throttled_usec"] * 1000 if "throttled_usec" in found else found.get("throttled_time", -1)


def _memory(folder: str, *, v2: bool) -> tuple[int, int]:
    """(in use, limit); what the kernel could drop at once doesn't count as used: docker's rule."""
    used = _number(folder + ("/memory.current" if v2 else "/memory.usage_in_bytes"))
    cache = pairs(cgroup.read(folder + "/memory.stat")).get("inactive_file" if v2 else "total_inactive_file", 0)
    return used - cache if used > cache else used, _number(folder + ("/memory.max" if v2 else "/memory.limit_in_bytes"))


def oom_kills(groups: list[Group]) -> int:
    folder = cgroup.of_controller(groups, "memory")[0]
    text = cgroup.read(folder + "/memory.events") or cgroup.read(folder + "/memory.oom_control")
    return pairs(text).get("oom_kill", -1)


def _disks(folder: str, *, v2: bool) -> tuple[int, int]:
    read = written = 0
    text = cgroup.read(folder + ("/io.stat" if v2 else "/blkio.throttle.io_service_bytes_recursive"))
    for line in text.splitlines():
        words = line.split()
        for word in words[1:] if v2 else ():
            name, _, value = word.partition("=")
            read += int(value) if name == "rbytes" else 0
            written += int(value) if name == "wbytes" else 0
        if not v2 and len(words) == 3:
            read += int(words[2]) if words[1] == "Read" else 0
            written += int(words[2]) if words[1] == "Write" else 0
    return read, written


def _pressure(path: str) -> float:
    for line in cgroup.read(path).splitlines():
        if line.startswith("some "):
            return float(line.partition("avg10=")[2].split(" ")[0])
    return -1


def _network(pid: int) -> tuple[int, int]:
    received = sent = 0
    for line in cgroup.read(f"/proc/{pid}/net/dev").splitlines():
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if colon and name.strip() != "lo" and len(fields) > 8:
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def processes(container_id: str, pid: int) -> list[int]:
    """The pids of all its processes, as the host counts them."""
    groups = cgroup.places(container_id)
    for _version, path, _parent in groups:
        pids = [int(p) for p in cgroup.read(path + "/cgroup.procs").split()]
        if pids:
            return sorted(pids)
    return _by_namespace(pid)


def _by_namespace(pid: int) -> list[int]:
    try:
        wanted = os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return []
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                found.append(int(name))
        except OSError:
            continue  # somebody else's, or just ended
    return sorted(found)


def _of_processes(pid: int) -> tuple[int, int, int]:
    """(CPU time, memory, number) summed over the processes that are there, and their children that have ended."""
    ticks = memory = 0
    pids = _by_namespace(pid)
    for each in pids:
        text = cgroup.read(f"/proc/{each}/stat")
        fields = text[text.rfind(")") + 2 :].split()
        if len(fields) > 21:
            # Shared pages count once for each: an upper bound, as there is no group that would count them.
            ticks += sum(int(n) for n in fields[11:15])
            memory += int(fields[21]) * _PAGE
    return ticks * 1_000_000_000 // _TICKS, memory, len(pids)
