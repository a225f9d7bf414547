"""A container's control groups as the kernel shows them, for version 1 and for version 2."""

from __future__ import annotations

from pathlib import Path

from .engine import Wherry

TOP = Path("/sys/fs/cgroup")
V2 = (TOP / "cgroup.controllers").exists()


def of(w: Wherry, name: str, controller: str) -> Path | None:
    """The folder of the container's group; None where it has none."""
    pid = int(w.ok("inspect", "-f", "{{.State.Pid}}", name))
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if V2 and not controllers:
            return TOP / path[1:] if "wherry" in path else None
        if not V2 and controller in controllers.split(","):
            return TOP / controller / path[1:] if "/wherry/" in path else None
    return None


def value(w: Wherry, name: str, controller: str, v1: str, v2: str) -> str:
    """A file's text: `v1` or `v2`, whichever the machine has; "" where the container has no such group."""
    folder = of(w, name, controller)
    if folder is None:
        return ""
    path = folder / (v2 if V2 else v1)
    return path.read_text().strip() if path.exists() else ""


def has(w: Wherry, controller: str) -> bool:
    """Whether containers of this user get groups here. Of those that do not, the tests ask for the words that say so."""
    if not V2:
        return w.is_root
    delegated = TOP if w.is_root else TOP / f"user.slice/user-{w.user.uid}.slice/user@{w.user.uid}.service"
    path = delegated / "cgroup.controllers"
    return path.exists() and controller in path.read_text().split()
