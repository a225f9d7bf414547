"""docker's defaults of a container: paths, mounts, devices. A test lists them and says where they are read from."""

from __future__ import annotations

import os

# moby, daemon/pkg/oci/defaults.go (2026): a container sees an empty file or folder in their place.
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# Below it each processor's thermal_throttle is hidden as well (GHSA-6fw5-f8r9-fgfm), where the machine has such a thing.
_PROCESSORS = "/sys/devices/system/cpu"

SHM_BYTES = 64 << 20

# runc's own list of what every container has in /dev.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")

# moby, daemon/oci: sysctls that a namespace of the container's own makes harmless.
IPC_SYSCTLS = (
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
)
IPC_PREFIX = "fs.mqueue."
NETWORK_PREFIX = "net."


def masked_paths(processors: str = _PROCESSORS) -> tuple[str, ...]:
    """Everything that is hidden from a container on this machine."""
    try:
        with open(processors + "/possible", encoding="ascii") as file:
            ranges = file.read().split(",")
        found = []
        for text in ranges:
            first, _, last = text.strip().partition("-")
            for number in range(int(first), int(last or first) + 1):
                path = f"{processors}/cpu{number}/thermal_throttle"
                if os.access(path, os.F_OK):
                    found.append(path)
    except (OSError, ValueError):
        return MASKED_PATHS
    return (*MASKED_PATHS, *found)
