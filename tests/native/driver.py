"""The native program, driven as docs/internals/monitor.md says: a status socket, an attach socket, records."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from native.plans import ALL_BUT_USER, NEWUSER, Container, encode, u32
from support.users import User

HEADER, RECORD = 8, 64 * 1024 + 8
STARTED, FAILED, WARNING = 1, 2, 3
ATTACH, STDIN, STDIN_EOF, RESIZE, SIGNAL, STOP, WAIT, STATUS, POLICY, CLAIM, NEXT_EXIT, NAMES = range(1, 13)
STDOUT, STDERR, EXIT, ERROR, OK, STATE = range(101, 107)


class Failed(NamedTuple):
    operation: int
    errno: int
    detail: str


class Ended(NamedTuple):
    code: int
    flags: int
    out: bytes
    err: bytes


def integers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 8], "little", signed=True) for at in range(0, len(data) - 7, 8)]


def message(kind: int, payload: bytes = b"", tag: int = 0) -> bytes:
    return kind.to_bytes(2, "little") + (1).to_bytes(2, "little") + u32(tag) + payload


def received(data: bytes) -> tuple[int, int, bytes]:
    """(type, tag, payload)"""
    return int.from_bytes(data[:2], "little"), int.from_bytes(data[4:8], "little"), data[HEADER:]


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(20)
    return ours, theirs


class Process:
    """A started container or exec: what its launcher said, and the connection to its streams."""

    def __init__(self, status: socket.socket, attach: socket.socket) -> None:
        self.attach = attach
        self.warnings: list[str] = []
        self.failed: Failed | None = None
        self.pid = self.pid_start = self.monitor = self.monitor_start = 0
        with status:
            while True:
                data = status.recv(RECORD)
                assert data, "the launcher ended without a word"
                kind, _tag, payload = received(data)
                if kind == WARNING:
                    self.warnings.append(payload[4:].decode())
                    continue
                if kind == FAILED:
                    operation, errno = integers(payload[:16])
                    self.failed = Failed(operation, errno, payload[20:].decode())
                    attach.close()
                else:
                    assert kind == STARTED
                    self.pid, self.pid_start, self.monitor, self.monitor_start = integers(payload)
                return

    def send(self, kind: int, payload: bytes = b"", tag: int = 0) -> None:
        self.attach.sendall(message(kind, payload, tag))

    def end(self, stdin: bytes | None = None) -> Ended:
        """Everything up to EXIT."""
        assert self.failed is None, self.failed
        if stdin is not None:
            for at in range(0, len(stdin), 60000):
                self.send(STDIN, stdin[at : at + 60000])
            self.send(STDIN_EOF)
        with contextlib.suppress(BrokenPipeError):  # it may be over, with EXIT waiting for us
            self.send(WAIT)
        out, err = [], []
        while True:
            try:
                data = self.attach.recv(RECORD)
            except ConnectionResetError:  # it closed with our last word unread; what it had said before is still there
                data = self.attach.recv(RECORD)
            kind, _tag, payload = received(data)
            if kind == STDOUT:
                out.append(payload)
            elif kind == STDERR:
                err.append(payload)
            elif kind == EXIT:
                self.attach.close()
                code, flags = integers(payload)
                return Ended(code, flags, b"".join(out), b"".join(err))


class Native:
    """The program, as one user, with a folder of his own and a root file system in it."""

    def __init__(self, program: Path, user: User, place: Path, rootfs: Path) -> None:
        self.program, self.user, self.place, self.rootfs = program, user, place, rootfs
        self.joined = -1  # the user's R, for the exec that comes next

    def container(self, ident: str = "c1", layers: list[Path] | None = None) -> Container:
        c = Container(self.place, layers or [self.rootfs], ident)
        for folder in (
            c.run / "mnt",
            c.run / "exec",
            c.state / "over/upper",
            c.state / "over/work",
            self.place / "run/live",
            self.place / "staging",
        ):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.place / "run", self.place / "containers", self.place / "staging"):
            for top, folders, files in os.walk(folder):
                for name in (".", *folders, *files):
                    os.chown(os.path.join(top, name), self.user.uid, self.user.gid)
        ids = self.ids()
        if ids:
            c.userns = ids
        c.root_namespace = self.root_namespace()
        return c

    def ids(self) -> tuple[list[str], list[str], int]:
        """The container's own ids: of root's range, or all that the user's namespace has."""
        if self.user.uid == 0:
            return ["0 300000 65536"], ["0 300000 65536"], 0
        if not self.user.subids:
            return ["0 0 1"], ["0 0 1"], 1
        # A range of a child lies within one range of its parent.
        ranges = ["0 0 1", f"1 1 {self.user.subids[1]}"]
        return ranges, ranges, 0

    def root_namespace(self) -> tuple[Any, ...] | None:
        if self.user.uid == 0:
            return None
        mine, group = f"0 {self.user.uid} 1", f"0 {self.user.gid} 1"
        if not self.user.subids:
            return 3, -1, [mine], [group], []
        first, count = self.user.subids
        rest = f"1 {first} {count}"
        return 2, -1, [mine, rest], [group, rest], ["/usr/bin/newuidmap", "/usr/bin/newgidmap"]

    def _spawn(self, words: list[str], fds: tuple[int, ...]) -> None:
        options: dict[str, Any] = {}
        if self.user.uid:
            options = {"user": self.user.uid, "group": self.user.gid, "extra_groups": []}
        fds += (self.joined,) if self.joined >= 0 else ()
        subprocess.run([str(self.program), *words], pass_fds=fds, env={}, cwd="/", check=True, timeout=30, **options)

    def run(self, c: Container | bytes) -> Process:
        plan = self.place / "plan"
        plan.write_bytes(c if isinstance(c, bytes) else c.plan())
        plan.chmod(0o644)
        status, status_theirs = pair()
        attach, attach_theirs = pair()
        with status_theirs, attach_theirs:
            self._spawn(
                ["run", str(plan), str(status_theirs.fileno()), str(attach_theirs.fileno())],
                (status_theirs.fileno(), attach_theirs.fileno()),
            )
        return Process(status, attach)

    def exec(self, plan: bytes, inherited: tuple[int, ...] = ()) -> Process:
        fd = os.memfd_create("plan")
        os.write(fd, plan)
        status, status_theirs = pair()
        attach, attach_theirs = pair()
        fds = (fd, status_theirs.fileno(), attach_theirs.fileno())
        with status_theirs, attach_theirs:
            self._spawn(["exec", *map(str, fds)], (*fds, *inherited))
        os.close(fd)
        if self.joined >= 0:
            os.close(self.joined)
            self.joined = -1
        return Process(status, attach)

    def start_only(self, c: Container) -> subprocess.Popen[bytes]:
        """The launcher, started; nobody listens to what it says."""
        (self.place / "plan").write_bytes(c.plan())
        (self.place / "plan").chmod(0o644)
        ours, theirs = pair()
        options: dict[str, Any] = {"user": self.user.uid, "group": self.user.gid, "extra_groups": []} if self.user.uid else {}
        with ours, theirs:
            words = [str(self.program), "run", str(self.place / "plan"), str(theirs.fileno())]
            return subprocess.Popen(words, pass_fds=(theirs.fileno(),), env={}, cwd="/", **options)

    def exec_plan(self, c: Container, running: Process, argv: list[str], stdio: tuple[int, ...] = (0, 0, 1, 0, 0)) -> bytes:
        """A process that joins all of the container's namespaces."""
        flags = ALL_BUT_USER | (NEWUSER if c.userns else 0)
        ops: list[tuple[Any, ...]] = [("ID", "e1"), ("RUN_DIR", str(c.run)), ("STDIO", *stdio)]
        if c.root_namespace:
            ops.append(("USERNS_ROOT", *c.root_namespace))
            self.joined = os.open(f"/proc/{running.monitor}/ns/user", os.O_RDONLY)
            os.set_inheritable(self.joined, True)
            ops[-1] = ("USERNS_ROOT", 1, self.joined, [], [], [])
        ops += [
            ("NS_JOIN", flags, running.pid, running.pid_start),
            ("ARGV", argv),
            ("ENV", c.env),
            ("CWD", "/", 0),
            ("USER", "", []),
            ("CAPS", *c.caps),
        ]
        return encode(ops)

    def processes(self) -> list[str]:
        """Of the program or its containers, as "pid words"."""
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state != "Z" and int(entry) != os.getpid() and (str(self.place) in words or "54321" in words):
                found.append(f"{entry} {words}")
        return found

    def kill(self, processes: list[str]) -> None:
        for line in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)

    def connect(self, c: Container) -> socket.socket:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(20)
        s.connect(str(c.run / "ctl"))
        return s


def until(check: Any, seconds: float = 10.0) -> Any:
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found or time.monotonic() > end:
            return found
        time.sleep(0.01)


def keys(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())
