"""Control groups: which hierarchies this host has, and where a container's own groups lie.

v2 and v1 side by side (hybrid) count as v1: the controllers are there. A container of root gets /wherry/<id> in each
controller; an ordinary user gets groups only where the host has delegated some. docs/internals/cgroups.md has the reasons.
"""

from __future__ import annotations

import os

MOUNT = "/sys/fs/cgroup"
PARENT = "wherry"
_V1 = ("pids", "memory", "cpu", "cpuacct", "blkio")
_V2_MARK = MOUNT + "/cgroup.controllers"
# What containers are given of v2's controllers, as far as the host has them.
_V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
# Half of what a service of the host has by default (v1's shares, v2's weight): work-conserving, so it costs nothing when the host is idle.
_SHARES, _WEIGHT = 512, 50

TYPE_CHECKING = False
if TYPE_CHECKING:
    # (1|2, group of the container, its parent)
    Group = tuple[int, str, str]


def is_v2() -> bool:
    """Whether the host has only the unified hierarchy."""
    return os.path.exists(_V2_MARK)


def version_text() -> str:
    return "2" if is_v2() else "1"


def layout(container_id: str, *, cpuset: bool = False) -> list[Group]:
    """Every group the container is to have, or has; [] where none may be made. `cpuset`: it is to be bound to processors (v1)."""
    if is_v2() and os.geteuid() != 0 and not _is_below(_own_v2_path(), _delegated()):
        # A process can be moved only inside the delegated tree. A login's session lies beside it.
        return []
    return places(container_id, cpuset=cpuset)


def outside_of_delegated() -> bool:
    """Whether this user has a tree of his own and this process lies beside it, where nothing can be moved into it."""
    return is_v2() and os.geteuid() != 0 and bool(v2_parent()) and not _is_below(_own_v2_path(), _delegated())


def inside_of_delegated() -> bool:
    """Whether this process belongs to systemd's manager of its user, and ends with it."""
    return is_v2() and os.geteuid() != 0 and _is_below(_own_v2_path(), _delegated())


def places(container_id: str, *, cpuset: bool = False) -> list[Group]:
    """The same, without asking whether this process may put others there."""
    if is_v2():
        parent = v2_parent()
        return [(2, f"{parent}/{container_id}", parent)] if parent else []
    if os.geteuid() != 0:
        return []
    found: list[Group] = []
    seen = set()
    unified = MOUNT + "/unified"
    hybrid = os.access(unified + "/cgroup.procs", os.W_OK)
    for name in (*_V1, *(["cpuset"] if cpuset else []), *([] if hybrid else ["freezer"])):
        folder = f"{MOUNT}/{name}"
        try:
            real = os.path.realpath(folder)
            if real in seen or not os.access(folder + "/tasks", os.W_OK):
                continue
        except OSError:
            continue
        seen.add(real)  # cpu and cpuacct are often one
        found.append((1, f"{folder}/{PARENT}/{container_id}", f"{folder}/{PARENT}"))
    if hybrid:
        # Without controllers, but with pressure and a better freezer. Behind the others: the first one tells the version.
        found.append((2, f"{unified}/{PARENT}/{container_id}", f"{unified}/{PARENT}"))
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


def of_controller(groups: list[Group], controller: str) -> tuple[str, str]:
    """(the container's group, its parent) in which `controller` is found; ("", "") where it isn't.

    "freezer" and "pressure" are not controllers of version 2, but it has both.
    """
    everything = bool(groups) and groups[0][0] == 2
    for version, path, parent in groups:
        if everything or (controller in ("freezer", "pressure") if version == 2 else f"/{controller}/" in path):
            return path, parent
    return "", ""


def read(path: str) -> str:
    """A control file's text, "" where it is missing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 1 << 16).decode("ascii", "replace").strip()
    except OSError:
        return ""
    finally:
        os.close(fd)


def write(path: str, value: str) -> None:
    """Raises OSError with the path."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from error


# -- the parent of all containers ----------------------------------------------------------------------------------------


def prepare(groups: list[Group], reserve: str) -> None:
    """Make the parent groups and give them their limits, unless that was done since the machine came up.

    `reserve`: bytes of memory that stay the host's, in docker's form; "" for 5 % of it, 512 MB at least; "0" for none.
    """
    pids = of_controller(groups, "pids")[1]
    # The limit of processes is written last, so it tells that all is done. Where there is no such controller, all is written each time.
    if pids and read(pids + "/pids.max") not in ("", "max"):
        return
    for version, _path, parent in groups:
        try:
            if version == 2:
                _make_v2(parent)
            elif not os.path.isdir(parent):
                os.mkdir(parent, 0o755)
        except FileExistsError:
            continue
        except OSError:
            # The launcher says it where it matters: when the container's own group can't be made.
            continue
    for controller, file, value in _parents_limits(groups, reserve):
        parent = of_controller(groups, controller)[1]
        try:
            write(f"{parent}/{file}", value)
        except OSError:
            # What the host hasn't got can't be shared out; each container's own limits are checked one by one.
            continue


def _parents_limits(groups: list[Group], reserve: str) -> list[tuple[str, str, str]]:
    """(controller, file, value), the number of processes last."""
    v2 = bool(groups) and groups[0][0] == 2
    found = []
    most = memory_for_containers(reserve)
    if most:
        found.append(("memory", "memory.max" if v2 else "memory.limit_in_bytes", str(most)))
    found.append(("cpu", "cpu.weight", str(_WEIGHT)) if v2 else ("cpu", "cpu.shares", str(_SHARES)))
    if not v2 and of_controller(groups, "cpuset")[0]:
        prepare_cpuset(of_controller(groups, "cpuset")[1])
    found.append(("pids", "pids.max", str(pids_for_containers())))
    return found


def prepare_cpuset(parent: str) -> None:
    """v1: a group of processors begins empty, and takes nobody until it has some."""
    try:
        os.makedirs(parent, 0o755, exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not read(f"{parent}/{file}"):
                write(f"{parent}/{file}", read(f"{os.path.dirname(parent)}/{file}"))
    except OSError:
        return


def memory_for_containers(reserve: str) -> int:
    """Bytes that all containers together may have; 0 for no limit."""
    from wherry.model import sizes

    total = total_memory()
    kept = sizes.parse_bytes(reserve) if reserve else max(total // 20, 512 << 20)
    return max(total - kept, total // 2) if kept else 0


def total_memory() -> int:
    """Bytes of the machine's memory, or of the group that this process's own root is (an outer container's limit)."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in (MOUNT + "/memory.max", MOUNT + "/memory/memory.limit_in_bytes"):
        text = read(file)
        if text.isdigit() and int(text) < total:
            return int(text)
    return total


def pids_for_containers() -> int:
    """Processes that all containers together may have: three quarters of what the machine can have."""
    numbers = [read("/proc/sys/kernel/pid_max"), read("/proc/sys/kernel/threads-max"), read(MOUNT + "/pids.max")]
    return min([int(n) for n in numbers if n.isdigit()] or [32768]) * 3 // 4


def _make_v2(parent: str) -> None:
    """Make the parent with its controllers handed down. Nothing happens to what is as it should be."""
    if not os.path.isdir(parent):
        os.makedirs(parent, 0o755, exist_ok=True)
    above = os.path.dirname(parent)
    _hand_down(above)
    _hand_down(parent)


def _hand_down(folder: str) -> None:
    there = read(folder + "/cgroup.controllers").split()
    have = read(folder + "/cgroup.subtree_control").split()
    for name in _V2_CONTROLLERS:
        if name not in there or name in have:
            continue
        try:
            write(folder + "/cgroup.subtree_control", "+" + name)
        except OSError as error:
            if error.errno != 16 or folder != MOUNT or not os.path.exists(folder + "/cgroup.type"):
                continue
            # EBUSY in an outer container: its group may not hold processes and groups with controllers both.
            _step_aside(folder)
            try:
                write(folder + "/cgroup.subtree_control", "+" + name)
            except OSError:
                continue


def _step_aside(folder: str) -> None:
    """Move the processes of an outer container's own group into a group beside ours."""
    try:
        os.makedirs(folder + "/init", 0o755, exist_ok=True)
        for pid in read(folder + "/cgroup.procs").split():
            try:
                write(folder + "/init/cgroup.procs", pid)
            except OSError:
                continue  # it has ended, or is the kernel's
    except OSError:
        return


# -- the end ---------------------------------------------------------------------------------------------------------------


def remove(container_id: str) -> None:
    """Remove a dead container's groups, after ending what might be left in them. Nothing happens when there are none."""
    for _version, path, _parent in places(container_id, cpuset=True):
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
            pids = [int(line) for line in read(path + "/cgroup.procs").split()]
            for pid in pids:
                os.kill(pid, 9)
            # A frozen one dies when it thaws.
            thaw(path)
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


def thaw(path: str) -> None:
    for file, value in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
        if os.path.exists(f"{path}/{file}"):
            write(f"{path}/{file}", value)


def existing() -> list[str]:
    """Ids of the containers that have a group in the first hierarchy."""
    for _version, _path, parent in places("0" * 64):
        try:
            return sorted(n for n in os.listdir(parent) if len(n) == 64)
        except OSError:
            return []
    return []
