"""Plans written by hand, from docs/internals/plan.md and native/ops.def alone: a second opinion on what Python's encoder makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from support.place import CHECKOUT

MAGIC = b"WHRYPLN1"
CODES = {
    name: (int(code), fields)
    for code, name, fields in re.findall(r'^OP\((\d+), (\w+), "(\w*)"', (CHECKOUT / "native/ops.def").read_text(), re.MULTILINE)
}

NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
ALL_BUT_USER = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWPID | NEWNET
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_SLAVE = 1, 2, 4, 8, 0x4000, 1 << 19
IDMAP, NO_LINK = 2, 32
MAKE, MAY_FAIL, FALL_BACK = 2, 1, 4
DOCKER_CAPS = 0xA80425FB


def u32(n: int) -> bytes:
    return n.to_bytes(4, "little")


def i64(n: int) -> bytes:
    return n.to_bytes(8, "little", signed=True)


def field(kind: str, value: Any) -> bytes:
    if kind == "i":
        return i64(value)
    if kind in "sb":
        data: bytes = value if isinstance(value, bytes) else str(value).encode()
        return u32(len(data)) + data
    return u32(len(value)) + b"".join(field(kind.lower(), item) for item in value)


def record(name: str, *values: Any) -> bytes:
    code, fields = CODES[name]
    assert len(values) == len(fields), (name, fields, values)
    payload = b"".join(map(field, fields, values))
    return code.to_bytes(2, "little") + b"\0\0" + u32(len(payload)) + payload


def encode(operations: list[tuple[Any, ...]]) -> bytes:
    return MAGIC + b"".join(record(*operation) for operation in operations) + record("END")


class Container:
    """A small container over a folder with a root file system. Each part may be changed before `plan()`."""

    def __init__(self, place: Path, layers: list[Path], ident: str = "c1") -> None:
        self.place, self.layers, self.ident = place, layers, ident
        self.run, self.state = place / "run" / ident, place / "containers" / ident
        self.argv: list[str] = ["true"]
        self.env: list[str] = ["PATH=/usr/bin:/bin"]
        self.stdio = (0, 0, 0, 24, 80)
        self.monitor: list[tuple[Any, ...]] = []
        self.outer: list[tuple[Any, ...]] = []
        self.mounts: list[tuple[Any, ...]] = []
        self.process: list[tuple[Any, ...]] = []
        self.user = ""
        self.cwd = ("/", 1)
        self.init = False
        self.namespaces = ALL_BUT_USER
        self.userns: tuple[Any, ...] | None = None
        self.root_namespace: tuple[Any, ...] | None = None
        self.caps = (DOCKER_CAPS, DOCKER_CAPS, DOCKER_CAPS, 0, 0)

    def plan(self) -> bytes:
        ops: list[tuple[Any, ...]] = [
            ("ID", self.ident),
            ("RUN_DIR", str(self.run)),
            ("STATE_DIR", str(self.state)),
            ("LOG", str(self.state / "log.json"), -1, 1, []),
            *self.monitor,
            ("STDIO", *self.stdio),
        ]
        if self.root_namespace:
            ops.append(("USERNS_ROOT", *self.root_namespace))
        ops += self.outer
        flags = NO_LINK | (IDMAP if self.userns and not self.root_namespace else 0)
        over = len(self.layers)
        ops += [("SOURCE", n, str(path), flags, 0, 0, 0, 0) for n, path in enumerate([*self.layers, self.state / "over"])]
        devices = ("null", "zero", "full", "random", "urandom", "tty")
        ops += [("SOURCE", over + 1 + n, f"/dev/{name}", 0, 0, 0, 0, 0) for n, name in enumerate(devices)]
        if self.userns:
            ops.append(("USERNS_NEW", *self.userns))
        ops += [
            ("NS_NEW", self.namespaces),
            ("PROPAGATION", MS_SLAVE | MS_REC),
            ("OVERLAY", range(over), over, "userxattr", 0),
            ("MOUNT", "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "", "proc", MAKE | FALL_BACK),
            ("MOUNT", "tmpfs", "/dev", MS_NOSUID, "mode=755,size=64k", "tmpfs", MAKE),
            ("MOUNT", "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5", "devpts", MAKE),
            ("MOUNT", "tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=64m", "shm", MAKE),
            ("MOUNT", "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "", "sysfs", MAKE | FALL_BACK),
            *[("ATTACH", over + 1 + n, f"/dev/{name}", 1) for n, name in enumerate(devices)],
            ("SYMLINK", "/proc/self/fd", "/dev/fd"),
            ("SYMLINK", "pts/ptmx", "/dev/ptmx"),
            *self.mounts,
        ]
        if self.stdio[0]:
            ops.append(("CONSOLE",))
        ops += [("LOOPBACK",), ("HOSTNAME", "box")]
        ops += [("MASK", path) for path in ("/proc/kcore", "/proc/keys", "/proc/acpi", "/proc/scsi", "/sys/firmware")]
        ops += [("READONLY", path) for path in ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")]
        ops += [
            ("PIVOT", MS_SLAVE | MS_REC),
            ("ARGV", self.argv),
            ("ENV", self.env),
            ("CWD", *self.cwd),
            ("USER", self.user, []),
            ("CAPS", *self.caps),
            *self.process,
        ]
        if self.init:
            ops.append(("INIT",))
        return encode(ops)
