"""The flags that limit a container: those that `update` can change, and those that only `run` and `create` take."""

from __future__ import annotations

from wherry.cli.options import Option
from wherry.errors import UsageError
from wherry.model import limits, sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.options import Parsed

_O = Option

CHANGEABLE: tuple[Option, ...] = (
    _O("blkio-weight", placeholder="uint16", default=0, check=limits.weight, help="Block IO (relative weight), between 10 and 1000, or 0 to disable"),
    _O("cpu-period", kind="int", default=0, help="Limit CPU CFS (Completely Fair Scheduler) period"),
    _O("cpu-quota", kind="int", default=0, help="Limit CPU CFS (Completely Fair Scheduler) quota"),
    _O("cpu-shares", "c", "int", 0, help="CPU shares (relative weight)"),
    _O("cpus", placeholder="decimal", default=0, check=limits.nano_cpus, help="Number of CPUs"),
    _O("cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)"),
    _O("cpuset-mems", help="MEMs in which to allow execution (0-3, 0,1)"),
    _O("memory", "m", placeholder="bytes", default=0, check=sizes.parse_bytes, help="Memory limit"),
    _O("memory-reservation", placeholder="bytes", default=0, check=sizes.parse_bytes, help="Memory soft limit"),
    _O(
        "memory-swap", placeholder="bytes", default=0, check=limits.memory_or_unlimited,
        help="Swap limit equal to memory plus swap: -1 to enable unlimited swap",
    ),
    _O("pids-limit", kind="int", default=0, help="Tune container pids limit (set -1 for unlimited)"),
)  # fmt: skip

ALL: tuple[Option, ...] = (
    *CHANGEABLE,
    _O("blkio-weight-device", kind="list", check=limits.weight_device, help="Block IO weight (relative device weight)"),
    _O("device-read-bps", kind="list", check=limits.bytes_rate, help="Limit read rate (bytes per second) from a device"),
    _O("device-read-iops", kind="list", check=limits.operations_rate, help="Limit read rate (IO per second) from a device"),
    _O("device-write-bps", kind="list", check=limits.bytes_rate, help="Limit write rate (bytes per second) to a device"),
    _O("device-write-iops", kind="list", check=limits.operations_rate, help="Limit write rate (IO per second) to a device"),
    _O("memory-swappiness", kind="int", default=-1, help="Tune container memory swappiness (0 to 100)"),
    _O("oom-kill-disable", kind="bool", help="Disable OOM Killer"),
)

# option → HostConfig's key
_KEYS = {
    "blkio_weight": "BlkioWeight",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_shares": "CpuShares",
    "cpus": "NanoCpus",
    "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems",
    "memory": "Memory",
    "memory_reservation": "MemoryReservation",
    "memory_swap": "MemorySwap",
}


def host_config(parsed: Parsed) -> dict[str, Any]:
    """HostConfig's limits as `run` and `create` ask for them. Raises UsageError."""
    swappiness = parsed.memory_swappiness
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise UsageError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    found: dict[str, Any] = {key: getattr(parsed, option) for option, key in _KEYS.items()}
    found["PidsLimit"] = parsed.pids_limit or None
    found["CpuRealtimePeriod"] = found["CpuRealtimeRuntime"] = 0
    found["BlkioWeightDevice"] = list(parsed.blkio_weight_device)
    found["BlkioDeviceReadBps"] = list(parsed.device_read_bps)
    found["BlkioDeviceWriteBps"] = list(parsed.device_write_bps)
    found["BlkioDeviceReadIOps"] = list(parsed.device_read_iops)
    found["BlkioDeviceWriteIOps"] = list(parsed.device_write_iops)
    found["MemorySwappiness"] = None if swappiness == -1 else swappiness
    found["OomKillDisable"] = bool(parsed.oom_kill_disable) if "oom-kill-disable" in parsed.given else None
    return found


def changes(parsed: Parsed) -> dict[str, Any]:
    """What `update` is to change: only what was given."""
    found = {key: getattr(parsed, option) for option, key in _KEYS.items() if option.replace("_", "-") in parsed.given}
    if "pids-limit" in parsed.given:
        found["PidsLimit"] = parsed.pids_limit
    return found
