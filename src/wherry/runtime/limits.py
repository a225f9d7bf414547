"""HostConfig's resource limits as control-group files and values, for cgroup v2 and for v1.

The rules are docker's (runc's libcontainer/cgroups). Each setting is (controller, file, value); what a kernel lacks is a
warning of the launcher, never silence.
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PIDS = 4096
DEFAULT_PERIOD_US = 100_000
# docker refuses less: a process can hardly be started in it.
MIN_MEMORY_BYTES = 6 << 20


class Setting(Record):
    """One write into a control group. `needed`: a failure stops the start instead of being said."""

    controller: str
    file: str
    value: str
    needed: bool = False


def checked(host: dict[str, Any], *, cpus: int | None = None) -> None:
    """Refuse limits that make no sense, with docker's words. Raises InvalidArgument."""
    memory, swap, low = (int(host.get(k) or 0) for k in ("Memory", "MemorySwap", "MemoryReservation"))
    if memory and memory < MIN_MEMORY_BYTES:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if swap > 0 and not memory:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if swap > 0 and swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory and low > memory:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    nano = int(host.get("NanoCpus") or 0)
    if nano and (host.get("CpuQuota") or host.get("CpuPeriod")):
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    there = cpus if cpus is not None else len(os.sched_getaffinity(0))
    if nano < 0 or nano > there * 1_000_000_000:
        raise InvalidArgument(f"Range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available")
    period, quota = int(host.get("CpuPeriod") or 0), int(host.get("CpuQuota") or 0)
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    shares = int(host.get("CpuShares") or 0)
    if shares < 0:
        raise InvalidArgument("invalid CPU shares: must be 2 or more")
    weight = int(host.get("BlkioWeight") or 0)
    if weight and not 10 <= weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    swappiness = host.get("MemorySwappiness")
    if swappiness is not None and not -1 <= int(swappiness) <= 100:
        raise InvalidArgument(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")


def pids_limit(host: dict[str, Any]) -> int:
    """The number of processes; -1 for no limit. Unset is DEFAULT_PIDS: a fork bomb must not take the host down."""
    given = host.get("PidsLimit")
    if given is None:
        return DEFAULT_PIDS
    return int(given) if int(given) > 0 else -1


def for_v2(host: dict[str, Any]) -> list[Setting]:
    found = [Setting("pids", "pids.max", _or_max(pids_limit(host)))]
    memory, swap, low = (int(host.get(k) or 0) for k in ("Memory", "MemorySwap", "MemoryReservation"))
    if memory:
        found.append(Setting("memory", "memory.max", _or_max(memory), True))
        # docker's default: as much swap again; v2 counts swap alone, docker memory and swap together.
        extra = -1 if swap < 0 else (swap - memory if swap else memory)
        found.append(Setting("memory", "memory.swap.max", _or_max(extra)))
    if low:
        found.append(Setting("memory", "memory.low", str(low)))
    shares = int(host.get("CpuShares") or 0)
    if shares:
        found.append(Setting("cpu", "cpu.weight", str(cpu_weight(shares))))
    quota, period = _bandwidth(host)
    if quota or period:
        found.append(Setting("cpu", "cpu.max", f"{quota if quota > 0 else 'max'} {period or DEFAULT_PERIOD_US}", True))
    for key, file in (("CpusetCpus", "cpuset.cpus"), ("CpusetMems", "cpuset.mems")):
        if host.get(key):
            found.append(Setting("cpuset", file, str(host[key]), True))
    weight = int(host.get("BlkioWeight") or 0)
    if weight:
        found.append(Setting("io", "io.weight", str(1 + (weight - 10) * 9999 // 990)))
    lines: dict[str, list[str]] = {}
    for key, name in (("ReadBps", "rbps"), ("WriteBps", "wbps"), ("ReadIOps", "riops"), ("WriteIOps", "wiops")):
        for device in host.get("BlkioDevice" + key) or ():
            lines.setdefault(_device(device["Path"]), []).append(f"{name}={device['Rate']}")
    found += [Setting("io", "io.max", f"{number} {' '.join(rates)}") for number, rates in lines.items()]
    return found


def for_v1(host: dict[str, Any]) -> list[Setting]:
    found = [Setting("pids", "pids.max", _or_max(pids_limit(host)))]
    memory, swap, low = (int(host.get(k) or 0) for k in ("Memory", "MemorySwap", "MemoryReservation"))
    if memory:
        found.append(Setting("memory", "memory.limit_in_bytes", str(memory), True))
        # Hosts without swap accounting lack the file: said, not fatal.
        found.append(Setting("memory", "memory.memsw.limit_in_bytes", str(-1 if swap < 0 else swap or 2 * memory)))
    if low:
        found.append(Setting("memory", "memory.soft_limit_in_bytes", str(low)))
    swappiness = host.get("MemorySwappiness")
    if swappiness is not None and int(swappiness) >= 0:
        found.append(Setting("memory", "memory.swappiness", str(swappiness)))
    if host.get("OomKillDisable"):
        found.append(Setting("memory", "memory.oom_control", "1"))
    shares = int(host.get("CpuShares") or 0)
    if shares:
        found.append(Setting("cpu", "cpu.shares", str(max(2, shares))))
    quota, period = _bandwidth(host)
    if period:
        found.append(Setting("cpu", "cpu.cfs_period_us", str(period), True))
    if quota:
        found.append(Setting("cpu", "cpu.cfs_quota_us", str(quota), True))
    for key, file in (("CpusetCpus", "cpuset.cpus"), ("CpusetMems", "cpuset.mems")):
        if host.get(key):
            found.append(Setting("cpuset", file, str(host[key]), True))
    if host.get("BlkioWeight"):
        found.append(Setting("blkio", "blkio.weight", str(host["BlkioWeight"])))
    for key, file in (("ReadBps", "read_bps"), ("WriteBps", "write_bps"), ("ReadIOps", "read_iops"), ("WriteIOps", "write_iops")):
        for device in host.get("BlkioDevice" + key) or ():
            found.append(Setting("blkio", f"blkio.throttle.{file}_device", f"{_device(device['Path'])} {device['Rate']}"))
    return found


def cpu_weight(shares: int) -> int:
    """v1's shares (2…262144) as v2's weight (1…10000): runc's linear rule."""
    shares = min(max(shares, 2), 262_144)
    return 1 + (shares - 2) * 9999 // 262_142


def _bandwidth(host: dict[str, Any]) -> tuple[int, int]:
    """(quota, period) in microseconds; 0 is unset."""
    nano = int(host.get("NanoCpus") or 0)
    if nano:
        return nano * DEFAULT_PERIOD_US // 1_000_000_000, DEFAULT_PERIOD_US
    return int(host.get("CpuQuota") or 0), int(host.get("CpuPeriod") or 0)


def _or_max(number: int) -> str:
    return "max" if number < 0 else str(number)


def _device(path: str) -> str:
    """major:minor of a block device. Raises InvalidArgument."""
    try:
        number = os.stat(path).st_rdev
    except OSError as error:
        raise InvalidArgument(f"device {path}: {os.strerror(error.errno or 0)}") from error
    return f"{os.major(number)}:{os.minor(number)}"
