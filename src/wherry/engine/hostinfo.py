"""`info`: docker's keys where they have a meaning here, and what this host allows."""

from __future__ import annotations

import os

from wherry.kernel import cgroup, lsm, native, process, userns
from wherry.model import config
from wherry.store import actual, containers
from wherry.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine


def info(engine: Engine) -> dict[str, Any]:
    """A document for `wherry info`. Reads the store and /proc; changes nothing."""
    from wherry.engine import ladder, limits

    store = engine.store
    states = [actual.read(store, row).status for row in containers.everything(store.db)]
    kernel = os.uname()
    mapping = userns.current()
    return {
        "ID": process.boot_id(),
        "Containers": len(states),
        "ContainersRunning": sum(s in ("running", "restarting") for s in states),
        "ContainersPaused": states.count("paused"),
        "ContainersStopped": sum(s in ("created", "exited") for s in states),
        "Images": int(store.db.row("SELECT count(*) FROM images")[0]),
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", _file_system(store.root)], ["userxattr", "true"]],
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroup.version_text(),
        "KernelVersion": kernel.release,
        "OperatingSystem": _operating_system(),
        "OSType": "linux",
        "Architecture": kernel.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "DockerRootDir": store.root,
        "Name": kernel.nodename,
        "ServerVersion": VERSION,
        "DefaultRuntime": "wherry",
        "Runtimes": {"wherry": {"path": native.path()}},
        "SecurityOptions": _security(mapping.mode),
        "Warnings": limits.promised() or None,
        "Rootless": mapping.mode != "host",
        "Wherry": {
            "Settings": {key: {"Value": s.value, "Origin": s.origin} for key, s in config.settings().items()},
            "RunRoot": store.run,
            "Ladder": [{name.capitalize(): getattr(rung, name) for name in rung._fields_} for rung in ladder.ladder(store)],
            "UserNamespace": {
                "Mode": mapping.mode,
                "UidMap": [list(t) for t in mapping.uids],
                "GidMap": [list(t) for t in mapping.gids],
                "Helpers": list(mapping.helpers),
                "Meaning": _MEANING.get(mapping.mode, ""),
                "Obstacle": str(userns.obstacle() or mapping.lack),
            },
        },
    }


_MEANING = {
    "host": "root: each container leases 65,536 ids of its own, files are seen through id-mapped mounts",
    "newuidmap": "an ordinary user with subordinate ids: a container's root is the user, its other ids are subordinate ones",
    "single": "an ordinary user without subordinate ids: one id; changes of owner succeed without effect",
}


def _security(mode: str) -> list[str]:
    found = ["name=seccomp,profile=builtin", "name=cgroupns"]
    if lsm.apparmor_enabled():
        found.insert(0, "name=apparmor")
    if mode != "host":
        found.append("name=rootless")
    else:
        found.append("name=userns")
    return found


def _operating_system() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            for line in file:
                if line.startswith("PRETTY_NAME="):
                    return line.partition("=")[2].strip().strip('"')
    except OSError:
        return "Linux"
    return "Linux"


def _file_system(path: str) -> str:
    """The type of the file system that holds `path`, by the longest mount point above it."""
    from wherry.kernel import mountinfo

    best = ("", "unknown")
    for mount in mountinfo.mounts():
        point = mount.mount_point
        if (path + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
            best = (point, mount.fs_type)
    return best[1]
