"""docker's defaults of a container: paths, mounts, devices. A test lists them and says where they are read from."""

from __future__ import annotations

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
