"""What may be left on a machine after a command: nothing. These look for it without asking wherry."""

from __future__ import annotations

import os
import time
from pathlib import Path

from .engine import Wherry


def mounts(w: Wherry) -> list[str]:
    """Mounts of the machine that have to do with the store."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(w.base) in line]


def host_mounts(w: Wherry) -> list[str]:
    """All mounts of the machine, without those that the tests of another process make meanwhile."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    ours = (f"/popen-{worker}/", f"/{w.base.parent.name}/")
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        theirs = worker and ("/pytest-of-" in line or "/wherry-test-" in line) and not any(name in line for name in ours)
        if not theirs:
            # without the ids of the mount and its parent, and its device
            found.append(line.split(" ", 3)[3])
    return sorted(found)


def processes(w: Wherry) -> list[str]:
    """Processes that belong to the store: by their words, by their control group, or by their user (made for the tests)."""
    found = []
    me = os.getpid()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == me:
            continue
        try:
            words = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            uid = os.stat(f"/proc/{entry}").st_uid
            groups = Path("/proc", entry, "cgroup").read_text()
            state = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if state == "Z" and not words:
            continue
        ours = str(w.base) in words or any(i in groups for i in w.seen)
        if not w.is_root and w.user.uid != os.getuid():
            ours = ours or any(uid in r for r in w.user.ranges)
        if ours:
            found.append(f"{entry} (uid {uid}, {state}): {words[:200]}")
    return found


def cgroups(w: Wherry) -> list[str]:
    """Control group directories of containers that the store once had."""
    if not w.seen or not w.is_root:
        return []
    found = []
    for top, folders, _ in os.walk("/sys/fs/cgroup"):
        if "process_api" in folders:
            folders.remove("process_api")
        found += [f"{top}/{name}" for name in folders if any(i in name for i in w.seen)]
    return found


def files(w: Wherry) -> list[str]:
    """Half-done things in the store, and run directories of containers that are no more."""
    found = [str(p) for p in _list(w.root / "staging")] + [str(p) for p in _list(w.root / "containers")]
    found += [str(p) for p in _list(w.runroot) if len(p.name) == 64] + [str(p) for p in _list(w.runroot / "live")]
    return found


def _list(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def find(w: Wherry, patience_s: float = 3.0) -> dict[str, list[str]]:
    """All of it, when all containers are removed. What ends by itself gets `patience_s` seconds for it."""
    end = time.monotonic() + patience_s
    while True:
        found = {f.__name__: f(w) for f in (mounts, processes, cgroups, files)}
        found = {name: what for name, what in found.items() if what}
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.05)
