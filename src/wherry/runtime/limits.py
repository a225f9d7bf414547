"""HostConfig's resource limits as control-group files and values, for cgroup v2 and for v1.

The rules are docker's (runc's libcontainer/cgroups). Each setting is (controller, file, value); what a kernel lacks is a
warning of the launcher, never silence.
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.kernel import cgroup
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PIDS = 4096
DEFAULT_PERIOD_US = 100_000
# docker refuses less: a process can hardly be started in it.
MIN_MEMORY_BYTES = 6 << 20


class Setting(Record):
    """One write into a control group. `flag` is what the user said to get it; "" for a default. `needed`: a failure stops the
    start instead of being said.
    """

    flag: str
    controller: str
    file: str
    value: str
    needed: bool = False


def checked(host: dict[str, Any], *, cpus: int | None = None) -> dict[str, Any]:
    """HostConfig with docker's defaults for what was left out. Raises InvalidArgument, with docker's words, for what makes no sense."""
    memory, swap, low = (int(host.get(k) or 0) for k in ("Memory", "MemorySwap", "MemoryReservation"))
    if memory and memory < MIN_MEMORY_BYTES:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if swap > 0 and not memory:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if swap > 0 and swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if 0 < low < MIN_MEMORY_BYTES:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if memory and low > memory:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    _checked_cpus(host, cpus if cpus is not None else os.cpu_count() or 1)
    for key, noun in (("CpusetCpus", "cpus"), ("CpusetMems", "mems")):
        text = host.get(key) or ""
        if text and not _is_set_of_numbers(text):
            raise InvalidArgument(f"Invalid value {text} for cpuset {noun}")
        kind, word = ("cpu", "CPUs") if noun == "cpus" else ("node", "memory nodes")
        there = cgroup.read(f"/sys/devices/system/{kind}/online")
        if text and there and not _numbers(text) <= _numbers(there):
            raise InvalidArgument(f"Requested {word} are not available - requested {text}, available: {there}")
    weight = int(host.get("BlkioWeight") or 0)
    if weight and not 10 <= weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    for key in ("BlkioWeightDevice", *(key for key, _flag, _v2, _v1 in _THROTTLES)):
        for device in host.get(key) or ():
            _device(device["Path"])
    swappiness = host.get("MemorySwappiness")
    if swappiness is not None and not -1 <= int(swappiness) <= 100:
        raise InvalidArgument(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    return host | {"MemorySwap": 2 * memory} if memory and not swap else host


def _checked_cpus(host: dict[str, Any], there: int) -> None:
    nano = int(host.get("NanoCpus") or 0)
    period, quota = int(host.get("CpuPeriod") or 0), int(host.get("CpuQuota") or 0)
    if nano and period:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if nano and quota:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if nano < 0 or nano > there * 1_000_000_000:
        raise InvalidArgument(f"range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available")
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if int(host.get("CpuShares") or 0) < 0:
        raise InvalidArgument(f"invalid CPU shares ({host['CpuShares']}): value must be a positive integer")


def _is_set_of_numbers(text: str) -> bool:
    """ "0-3,7": what the kernel takes for processors and memory nodes."""
    return all(0 < len(ends := part.split("-")) <= 2 and all(e.isascii() and e.isdigit() for e in ends) for part in text.split(","))


def _numbers(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        # No machine has more: a hostile range must not cost memory.
        found.update(range(int(first), min(int(last or first), 1 << 16) + 1))
    return found


def pids_limit(host: dict[str, Any]) -> int:
    """The number of processes; -1 for no limit. Unset is DEFAULT_PIDS: a fork bomb must not take the host down."""
    given = host.get("PidsLimit")
    if given is None:
        return DEFAULT_PIDS
    return int(given) if int(given) > 0 else -1


def settings(host: dict[str, Any], version: int) -> list[Setting]:
    """Every write that HostConfig asks for, in the order in which the kernel takes them. `version`: of the hierarchy, 1 or 2."""
    return for_v2(host) if version == 2 else for_v1(host)


def for_v2(host: dict[str, Any]) -> list[Setting]:
    found = [_pids(host)]
    memory, swap, low = (int(host.get(k) or 0) for k in ("Memory", "MemorySwap", "MemoryReservation"))
    if memory:
        found.append(Setting("--memory", "memory", "memory.max", _or_max(memory), True))
        # docker's default: as much swap again; v2 counts swap alone, docker memory and swap together.
        extra = -1 if swap < 0 else (swap - memory if swap else memory)
        found.append(Setting("--memory-swap", "memory", "memory.swap.max", _or_max(extra)))
    if low:
        found.append(Setting("--memory-reservation", "memory", "memory.low", str(low)))
    shares = int(host.get("CpuShares") or 0)
    if shares:
        found.append(Setting("--cpu-shares", "cpu", "cpu.weight", str(cpu_weight(shares))))
    quota, period = _bandwidth(host)
    if quota or period:
        value = f"{quota if quota > 0 else 'max'} {period or DEFAULT_PERIOD_US}"
        found.append(Setting(_bandwidth_flag(host), "cpu", "cpu.max", value, True))
    for key, flag in _CPUSET:
        if host.get(key):
            found.append(Setting("--" + flag, "cpuset", flag.replace("-", "."), str(host[key]), True))
    weight = int(host.get("BlkioWeight") or 0)
    if weight:
        found.append(Setting("--blkio-weight", "io", "io.weight", str(_io_weight(weight))))
    for device in host.get("BlkioWeightDevice") or ():
        value = f"{_device(device['Path'])} {_io_weight(int(device['Weight']))}"
        found.append(Setting("--blkio-weight-device", "io", "io.weight", value))
    for key, flag, name, _v1 in _THROTTLES:
        for device in host.get(key) or ():
            found.append(Setting(flag, "io", "io.max", f"{_device(device['Path'])} {name}={device['Rate']}"))
    return found


def for_v1(host: dict[str, Any]) -> list[Setting]:
    found = [_pids(host)]
    memory, swap, low = (int(host.get(k) or 0) for k in ("Memory", "MemorySwap", "MemoryReservation"))
    if memory:
        found.append(Setting("--memory", "memory", "memory.limit_in_bytes", str(memory), True))
        # Hosts without swap accounting lack the file: said, not fatal.
        both = -1 if swap < 0 else swap or 2 * memory
        found.append(Setting("--memory-swap", "memory", "memory.memsw.limit_in_bytes", str(both)))
    if low:
        found.append(Setting("--memory-reservation", "memory", "memory.soft_limit_in_bytes", str(low)))
    swappiness = host.get("MemorySwappiness")
    if swappiness is not None and int(swappiness) >= 0:
        found.append(Setting("--memory-swappiness", "memory", "memory.swappiness", str(swappiness)))
    if host.get("OomKillDisable"):
        found.append(Setting("--oom-kill-disable", "memory", "memory.oom_control", "1"))
    shares = int(host.get("CpuShares") or 0)
    if shares:
        found.append(Setting("--cpu-shares", "cpu", "cpu.shares", str(max(2, shares))))
    quota, period = _bandwidth(host)
    if period:
        found.append(Setting(_bandwidth_flag(host), "cpu", "cpu.cfs_period_us", str(period), True))
    if quota:
        found.append(Setting(_bandwidth_flag(host), "cpu", "cpu.cfs_quota_us", str(quota), True))
    if wants_cpuset(host):
        # A v1 group of processors takes no process before it has both; "" is what its parent has.
        for key, flag in _CPUSET:
            found.append(Setting("--" + flag, "cpuset", flag.replace("-", "."), str(host.get(key) or ""), True))
    if host.get("BlkioWeight"):
        found.append(Setting("--blkio-weight", "blkio", "blkio.weight", str(host["BlkioWeight"])))
    for device in host.get("BlkioWeightDevice") or ():
        found.append(Setting("--blkio-weight-device", "blkio", "blkio.weight_device", f"{_device(device['Path'])} {device['Weight']}"))
    for key, flag, _v2, name in _THROTTLES:
        for device in host.get(key) or ():
            found.append(Setting(flag, "blkio", f"blkio.throttle.{name}_device", f"{_device(device['Path'])} {device['Rate']}"))
    return found


_CPUSET = (("CpusetCpus", "cpuset-cpus"), ("CpusetMems", "cpuset-mems"))
# HostConfig's key, the flag, v2's word in io.max, v1's file
_THROTTLES = (
    ("BlkioDeviceReadBps", "--device-read-bps", "rbps", "read_bps"),
    ("BlkioDeviceWriteBps", "--device-write-bps", "wbps", "write_bps"),
    ("BlkioDeviceReadIOps", "--device-read-iops", "riops", "read_iops"),
    ("BlkioDeviceWriteIOps", "--device-write-iops", "wiops", "write_iops"),
)


def wants_cpuset(host: dict[str, Any]) -> bool:
    return bool(host.get("CpusetCpus") or host.get("CpusetMems"))


def cpu_weight(shares: int) -> int:
    """v1's shares (2…262144) as v2's weight (1…10000): runc's linear rule."""
    shares = min(max(shares, 2), 262_144)
    return 1 + (shares - 2) * 9999 // 262_142


def _io_weight(weight: int) -> int:
    """v1's blkio weight (10…1000) as v2's io.weight (1…10000): runc's linear rule."""
    return 1 + (weight - 10) * 9999 // 990


def _pids(host: dict[str, Any]) -> Setting:
    given = host.get("PidsLimit") is not None
    return Setting("--pids-limit" if given else "", "pids", "pids.max", _or_max(pids_limit(host)))


def _bandwidth(host: dict[str, Any]) -> tuple[int, int]:
    """(quota, period) in microseconds; 0 is unset."""
    nano = int(host.get("NanoCpus") or 0)
    if nano:
        return nano * DEFAULT_PERIOD_US // 1_000_000_000, DEFAULT_PERIOD_US
    return int(host.get("CpuQuota") or 0), int(host.get("CpuPeriod") or 0)


def _bandwidth_flag(host: dict[str, Any]) -> str:
    return "--cpus" if host.get("NanoCpus") else "--cpu-quota" if host.get("CpuQuota") else "--cpu-period"


def _or_max(number: int) -> str:
    return "max" if number < 0 else str(number)


def _device(path: str) -> str:
    """major:minor of a block device. Raises InvalidArgument."""
    try:
        number = os.stat(path).st_rdev
    except OSError as error:
        raise InvalidArgument(f"device {path}: {os.strerror(error.errno or 0)}") from error
    return f"{os.major(number)}:{os.minor(number)}"
