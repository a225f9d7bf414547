"""Limits of containers: put in force at a start, changed by `update`, and said where they can't be."""

from __future__ import annotations

import os
import time

from wherry.kernel import cgroup, process
from wherry.model import config
from wherry.runtime import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine import Engine
    from wherry.kernel.cgroup import Group


def enter_tree() -> str:
    """Come into the tree of control groups that this user may arrange, by a scope of systemd's user manager. Why not, else "".

    What this process starts is in the scope with it, as podman's is; the scope ends with the last of them.
    """
    if not cgroup.outside_of_delegated():
        return ""
    from wherry.kernel import systemd

    pid = os.getpid()
    try:
        systemd.start_scope(f"wherry-{pid}-{process.start_time(pid)}.scope", pid, "containers of wherry")
    except systemd.BusError as error:
        return str(error)
    deadline = time.monotonic() + systemd.TIMEOUT_S
    while cgroup.outside_of_delegated():
        if time.monotonic() > deadline:
            return "systemd took the order for a scope and hasn't made it"
        time.sleep(0.001)
    return ""


_LINGER = "/var/lib/systemd/linger"


def warn_of_logout(engine: Engine) -> None:
    """Said once: a container that goes on in the background ends with its user's last session, unless the user lingers."""
    if not cgroup.inside_of_delegated() or not os.path.isdir(os.path.dirname(_LINGER)):
        return
    from wherry.kernel import userns

    name = userns.user_name(os.geteuid()) or str(os.geteuid())
    db = engine.store.db
    if os.path.exists(f"{_LINGER}/{name}") or db.row("SELECT 1 FROM meta WHERE key = 'said_logout'") is not None:
        return
    db.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('said_logout', 1)")
    engine.warn(f"when {name} has logged out everywhere, systemd ends this container; `loginctl enable-linger {name}` prevents that")


def prepare(host: dict[str, Any]) -> list[str]:
    """Make sure of the parent groups before a start. Sentences on what `host` asks for and this machine can't enforce."""
    obstacle = enter_tree()
    cpuset = limits.wants_cpuset(host)
    groups = cgroup.layout("start", cpuset=cpuset)
    if groups:
        cgroup.prepare(groups, config.value("host_reserve"))
        if cpuset and groups[0][0] == 1:
            cgroup.prepare_cpuset(cgroup.of_controller(groups, "cpuset")[1])
    said = not_in_force(host, groups, obstacle)
    if host.get("Memory"):
        said += _promised(int(host["Memory"]), groups)
    return said


def lacking(host: dict[str, Any]) -> list[str]:
    """What `inspect` shows of it, for a container with this HostConfig."""
    groups = cgroup.places("start", cpuset=limits.wants_cpuset(host))
    found = not_in_force(host, groups)
    if not cgroup.of_controller(groups, "pids")[0]:
        found.append("--pids-limit: held for each user id of the container by itself (RLIMIT_NPROC), as there is no group that counts")
    return found


def not_in_force(host: dict[str, Any], groups: list[Group], obstacle: str = "") -> list[str]:
    """A sentence for all flags whose limit the kernel won't hold, with the reason and what would help; [] when all are held."""
    version = groups[0][0] if groups else 0
    lacking: dict[str, list[str]] = {}
    for setting in limits.settings(host, version or 2):
        if not setting.flag or setting.flag == "--memory-swap" and host.get("MemorySwap") == 2 * int(host.get("Memory") or 0):
            continue
        parent = cgroup.of_controller(groups, setting.controller)[1]
        if not os.path.exists(f"{parent}/{setting.file}"):
            flags = lacking.setdefault(_reason(setting.controller, parent, obstacle), [])
            if setting.flag not in flags:
                flags.append(setting.flag)
    if version == 2 or not groups:
        # cgroup v2 knows neither; docker warns and goes on, too.
        gone = [
            flag
            for key, flag in (("MemorySwappiness", "--memory-swappiness"), ("OomKillDisable", "--oom-kill-disable"))
            if _given(host, key)
        ]
        if gone and groups:
            lacking["control groups of version 2 have no such setting"] = gone
    return [f"{', '.join(flags)}: not in force: {reason}" for reason, flags in lacking.items()]


def _given(host: dict[str, Any], key: str) -> bool:
    value = host.get(key)
    return value is not None and value not in (-1, False)


def _reason(controller: str, parent: str, obstacle: str) -> str:
    if parent and cgroup.is_v2() and os.geteuid() != 0:
        return (
            f"systemd delegates no {controller} controller to this user: set Delegate=cpu cpuset io memory pids "
            f"for user@{os.geteuid()}.service"
        )
    if parent:
        return f"this kernel's control groups lack it ({controller})"
    if os.geteuid() == 0:
        if cgroup.is_v2():
            return f"{cgroup.MOUNT} is read-only here; an outer container needs --cgroupns=private and a writable {cgroup.MOUNT}"
        return f"there is no writable control group of {controller} below {cgroup.MOUNT}"
    if not cgroup.is_v2():
        return "with control groups of version 1 an ordinary user has none of his own; version 2 with systemd gives him some"
    if obstacle:
        return f"systemd gives this user no scope: {obstacle}"
    return (
        "no control group is delegated to this user; log in through systemd (loginctl), "
        f"and for all controllers set Delegate=cpu cpuset io memory pids for user@{os.geteuid()}.service"
    )


def promised() -> list[str]:
    """What `info` says when running containers may use more memory than there is for them."""
    return _promised(0, cgroup.places("info"))


def _promised(wanted: int, groups: list[Group]) -> list[str]:
    """Say so when the limits of all that run add up to more memory than there is for them."""
    parent = cgroup.of_controller(groups, "memory")[1]
    if not parent:
        return []
    file = "memory.max" if groups[0][0] == 2 else "memory.limit_in_bytes"
    total, others = cgroup.memory_for_containers(config.value("host_reserve")) or cgroup.total_memory(), 0
    try:
        names = os.listdir(parent)
    except OSError:
        return []
    for name in names:
        text = cgroup.read(f"{parent}/{name}/{file}") if len(name) == 64 else ""
        if text.isdigit() and int(text) < 1 << 60:
            others += int(text)
    if others + wanted <= total:
        return []
    from wherry.model import sizes

    return [
        f"more memory is promised than there is: {sizes.human_binary(others + wanted)} to all running containers, "
        f"{sizes.human_binary(total)} is for them; when all use what they may, the kernel ends some"
    ]
