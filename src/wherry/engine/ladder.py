"""The ladder: what containers stand on here, rung by rung, what is done where one is missing, and how the owner of the machine mends it.

Whether a user namespace and an overlay can be made is tried, once for each boot, user and version (a file in the run root); the rest is read.
"""

from __future__ import annotations

import os
import sys

from wherry.kernel import cgroup, mountinfo, process, userns
from wherry.model import jsontext
from wherry.model.record import Record
from wherry.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.store import Store

# "yes": as it should be; "less": goes on without something; "no": containers don't start.
YES, LESS, NO = "yes", "less", "no"

# Run as root of the user's namespace, in a mount namespace of its own: an overlay over two empty folders.
_TRY_OVERLAY = """
import ctypes, os, sys
folder = sys.argv[1]
for name in ("lower", "upper", "work", "merged"):
    os.mkdir(folder + "/" + name)
libc = ctypes.CDLL(None, use_errno=True)
options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work,userxattr".encode()
if libc.unshare(0x20000):
    sys.exit(os.strerror(ctypes.get_errno()))
libc.mount(None, b"/", None, 0x84000, None)  # MS_REC | MS_SLAVE: nothing of it reaches the host
if libc.mount(b"overlay", (folder + "/merged").encode(), b"overlay", 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
"""


class Rung(Record):
    """`found`: what is so here; `remedy`: what the owner of the machine does about it, "" when nothing is missing."""

    name: str
    state: str
    found: str
    remedy: str = ""


def ladder(store: Store) -> list[Rung]:
    tried = _tried(store)
    return [_namespaces(tried), _ids(), _overlay(tried), _proc(), _sys(), _groups()]


def _namespaces(tried: dict[str, Any]) -> Rung:
    name = "user namespaces"
    if userns.current().mode == "host":
        return Rung(name, YES, "run by root: each container has ids of its own")
    known = userns.obstacle()
    if tried["namespace"] == "":
        return Rung(name, YES, "an ordinary user may make them")
    if known is not None:
        return Rung(name, NO, known.message, known.hint)
    return Rung(
        name, NO, f"this user can't make one: {tried['namespace']}",
        "inside another container: start the outer one with --security-opt seccomp=unconfined --security-opt unmask=ALL",
    )  # fmt: skip


def _ids() -> Rung:
    mapping = userns.current()
    if mapping.mode == "single":
        why, _, remedy = mapping.lack.partition("; ")
        return Rung(
            "ids", LESS, f"one id for all of a container, changes of owner succeed without effect: {why}", remedy or "install uidmap"
        )
    if mapping.mode == "host":
        return Rung("ids", YES, "65,536 for each container")
    return Rung("ids", YES, f"{sum(count for _i, _o, count in mapping.uids)} by newuidmap")


def _overlay(tried: dict[str, Any]) -> Rung:
    if tried["overlay"] == "":
        return Rung("overlayfs", YES, "layers are shared, nothing is copied")
    if tried["namespace"]:
        return Rung("overlayfs", NO, "not tried: it wants a user namespace first")
    remedy = "as root: modprobe overlay (Linux 5.11 or later); and put the store on ext4, xfs, btrfs or tmpfs with --root, not on NFS or another overlay"
    return Rung("overlayfs", NO, f"can't be mounted over the store's file system: {tried['overlay']}", remedy)


def _proc() -> Rung:
    # binfmt_misc is mounted there by systemd and hides nothing: the kernel minds it not.
    covered = [
        m.mount_point for m in mountinfo.mounts() if m.mount_point.startswith("/proc/") and m.mount_point != "/proc/sys/fs/binfmt_misc"
    ]
    if not covered:
        return Rung("/proc", YES, "each container mounts its own")
    if userns.current().mode == "host" and not os.path.exists("/run/.containerenv") and not os.path.exists("/.dockerenv"):
        return Rung("/proc", YES, f"covered in places ({covered[0]}), which root may do")
    return Rung(
        "/proc", LESS, f"covered in places ({covered[0]}), so the kernel gives no new one: this one is bound, with all its processes in sight",
        "an outer container: start it with --security-opt unmask=ALL (podman) or systempaths=unconfined (docker)",
    )  # fmt: skip


def _sys() -> Rung:
    if os.statvfs("/sys").f_flag & os.ST_RDONLY:
        return Rung(
            "/sys",
            LESS,
            "read-only: bound as it is, and no control groups can be made",
            "an outer container: start it with --privileged",
        )
    return Rung("/sys", YES, "writable")


def _groups() -> Rung:
    groups = cgroup.places("ladder")
    version = cgroup.version_text()
    if groups and groups[0][0] == 2:
        there = cgroup.read(os.path.dirname(groups[0][2]) + "/cgroup.controllers").split()
        missing = [c for c in ("cpu", "cpuset", "io", "memory", "pids") if c not in there]
        if not missing:
            return Rung("control groups", YES, "version 2, all limits")
        remedy = f"set Delegate=cpu cpuset io memory pids for user@{os.geteuid()}.service" if os.geteuid() else ""
        return Rung("control groups", LESS, f"version 2 without {', '.join(missing)}", remedy)
    if groups:
        return Rung("control groups", YES, f"version {version}, all limits")
    if version == "1":
        return Rung(
            "control groups",
            LESS,
            "version 1 gives an ordinary user none: no limits but on processes",
            "boot with systemd.unified_cgroup_hierarchy=1",
        )
    return Rung(
        "control groups",
        LESS,
        "none is delegated to this user: no limits but on processes",
        "log in through systemd (loginctl enable-linger USER)",
    )


# -- what is tried ------------------------------------------------------------------------------------------------------------


def _tried(store: Store) -> dict[str, Any]:
    path = store.run_path("tried")
    mark = f"{process.boot_id()} {VERSION} {os.geteuid()} {store.root}"
    try:
        known = jsontext.loads(process.read_text(path) or "{}")
        if known.get("mark") == mark:
            return dict(known)
    except (ValueError, AttributeError):
        pass
    found = {"mark": mark} | _try(store)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.write(fd, jsontext.dumps(found).encode())
        os.close(fd)
    except OSError:
        return found  # tried again the next time
    return found


def _try(store: Store) -> dict[str, str]:
    """What stands in the way of a namespace and of an overlay; "" for nothing."""
    import shutil
    import subprocess

    words, environment = userns.enter_command()
    folder = store.staging("tried")
    namespace = _said(subprocess.run([*words, sys.executable, "-I", "-S", "-c", ""], env=environment, capture_output=True))
    overlay = namespace
    if not namespace:
        os.mkdir(folder, 0o700)
        done = subprocess.run([*words, sys.executable, "-I", "-S", "-c", _TRY_OVERLAY, folder], env=environment, capture_output=True)
        overlay = _said(done)
        shutil.rmtree(folder, ignore_errors=True)
    return {"namespace": namespace, "overlay": overlay}


def _said(done: Any) -> str:
    if done.returncode == 0:
        return ""
    text = os.fsdecode(done.stderr).strip().splitlines()
    return text[-1] if text else f"exit code {done.returncode}"
