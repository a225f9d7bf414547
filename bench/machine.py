"""The machine: what it is, and what the peers need of it that it may lack."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PEERS_GROUPS = ("docker", "libpod_parent", "libpod")


def describe() -> str:
    cpu = next((x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")), "processor")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) >> 20
    return (
        f"Measured {datetime.date.today()} on {os.cpu_count()} × {cpu}, {memory} GiB, Linux {platform.release()}, Python "
        f"{platform.python_version()}; medians of interleaved runs, milliseconds unless said."
    )


@contextlib.contextmanager
def control_groups() -> Iterator[None]:
    """crun refuses a hybrid machine whose version 2 tree has controllers of its own ("cgroups in hybrid mode not supported"):
    while the bench runs they get version 1 trees, where the other controllers are. At the end the peers' empty groups go too."""
    mounted: list[Path] = []
    left = CGROUPS / "unified/cgroup.controllers"
    if os.geteuid() == 0 and left.exists():
        for controller in left.read_text().split():
            place = CGROUPS / controller
            if not place.exists():
                place.mkdir()
                done = subprocess.run(["mount", "-t", "cgroup", "-o", controller, "cgroup", str(place)], capture_output=True)
                if done.returncode == 0:
                    mounted.append(place)
                else:
                    place.rmdir()
    try:
        yield
    finally:
        for tree in CGROUPS.iterdir() if os.geteuid() == 0 else []:
            for name in PEERS_GROUPS:
                for folder, _, _ in os.walk(tree / name, topdown=False):
                    with contextlib.suppress(OSError):  # in use: somebody else's
                        os.rmdir(folder)
        for place in mounted:
            subprocess.run(["umount", str(place)], check=False)
            place.rmdir()
