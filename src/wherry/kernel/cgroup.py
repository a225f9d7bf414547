"""Control groups: which hierarchies this host has, and where a container's own groups lie.

v2 and v1 side by side (hybrid) count as v1: the controllers are there. A container of root gets /wherry/<id> in each
controller; an ordinary user gets groups only where the host has delegated some.
"""

from __future__ import annotations

import os

MOUNT = "/sys/fs/cgroup"
PARENT = "wherry"
_V1 = ("pids", "memory", "cpu", "cpuacct", "blkio", "devices", "freezer")
_V2_MARK = MOUNT + "/cgroup.controllers"


def is_v2() -> bool:
    """Whether the host has only the unified hierarchy."""
    return os.path.exists(_V2_MARK)


def version_text() -> str:
    return "2" if is_v2() else "1"


def layout(container_id: str) -> list[tuple[int, str, str]]:
    """(1|2, group of the container, its parent) for every group it is to have; [] where none may be made."""
    if is_v2() and os.geteuid() != 0 and not _is_below(_own_v2_path(), _delegated()):
        # A process can be moved only inside the delegated tree. A login's session lies beside it.
        return []
    return _places(container_id)


def _places(container_id: str) -> list[tuple[int, str, str]]:
    if is_v2():
        parent = v2_parent()
        return [(2, f"{parent}/{container_id}", parent)] if parent else []
    if os.geteuid() != 0:
        return []
    found = []
    seen = set()
    for name in _V1:
        folder = f"{MOUNT}/{name}"
        try:
            real = os.path.realpath(folder)
            if real in seen or not os.access(folder + "/tasks", os.W_OK):
                continue
        except OSError:
            continue
        seen.add(real)  # cpu and cpuacct are often one
        found.append((1, f"{folder}/{PARENT}/{container_id}", f"{folder}/{PARENT}"))
    return found


def v2_parent() -> str:
    """The group below which containers get theirs: /wherry for root, the delegated one of systemd's user manager else; "" for none."""
    if os.geteuid() == 0:
        return f"{MOUNT}/{PARENT}" if os.access(MOUNT + "/cgroup.procs", os.W_OK) else ""
    folder = MOUNT + _delegated()
    return f"{folder}/{PARENT}" if os.access(folder + "/cgroup.procs", os.W_OK) and os.access(folder, os.W_OK) else ""


def _delegated() -> str:
    """The path, inside the hierarchy, of what systemd lets this user's manager arrange as it likes."""
    uid = os.geteuid()
    return f"/user.slice/user-{uid}.slice/user@{uid}.service"


def _own_v2_path() -> str:
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                if line.startswith("0::"):
                    return line[3:].rstrip("\n")
    except OSError:
        return ""
    return ""


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def remove(container_id: str) -> None:
    """Remove a dead container's groups, after ending what might be left in them. Nothing happens when there are none."""
    for _version, path, _parent in _places(container_id):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError:
            _empty_and_remove(path)


def _empty_and_remove(path: str) -> None:
    import time

    for _attempt in range(100):
        try:
            with open(path + "/cgroup.procs", encoding="ascii") as file:
                pids = [int(line) for line in file]
            for pid in pids:
                os.kill(pid, 9)
        except (OSError, ValueError):
            pids = []
        time.sleep(0.002)
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError:
            continue


def existing() -> list[str]:
    """Ids of the containers that have a group in the first hierarchy."""
    for _version, _path, parent in _places("0" * 64):
        try:
            return sorted(n for n in os.listdir(parent) if len(n) == 64)
        except OSError:
            return []
    return []
