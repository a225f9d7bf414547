"""A small world to try the link in, for any user: a host, another machine ("far"), and R with R-net and one container. All of it is
made of namespaces and ends with this process, the first of a process namespace: `unshare -Urnmpf --mount-proc --kill-child … SCENARIO`.
The scenarios are in link_scenarios.py."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

NEWUSER, NEWNET = 0x10000000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
HOST, FAR = "198.51.100.1", "198.51.100.2"
HOST6, FAR6 = "2001:db8:7::1", "2001:db8:7::2"
GATEWAY, BOX = "10.88.0.1", "10.88.0.2"
BOX6 = "fd88::2"


def call(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def unshare(flags: int) -> None:
    call(libc.unshare(flags))


def setns(fd: int, flags: int) -> None:
    call(libc.setns(fd, flags))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


class World:
    def __init__(self, program: str) -> None:
        self.program = program
        self.folder = Path(tempfile.mkdtemp(prefix="l", dir=os.environ.get("WORLD_TMP", "/tmp")))
        self.host = os.open("/proc/self/ns/net", os.O_RDONLY)
        ip("link", "set", "lo", "up")
        self.far = self._child_net([])
        ip("link", "add", "w0", "type", "veth", "peer", "name", "f0")
        ip("link", "set", "f0", "netns", self._path(self.far))
        ip("addr", "add", f"{HOST}/24", "dev", "w0"), ip("-6", "addr", "add", f"{HOST6}/64", "dev", "w0", "nodad")
        ip("link", "set", "w0", "up")
        self.do(
            self.far, lambda: (ip("addr", "add", f"{FAR}/24", "dev", "f0"), ip("-6", "addr", "add", f"{FAR6}/64", "dev", "f0", "nodad"))
        )
        self.do(self.far, lambda: (ip("link", "set", "f0", "up"), ip("link", "set", "lo", "up")))
        self.r = self._child_user()
        self.rnet, self.box = self._child_net([(self.r, NEWUSER)]), self._child_net([(self.r, NEWUSER)])
        self.do(self.rnet, self._network, user=True)
        self.do(self.box, self._container, user=True)
        self.link_pid = 0
        self.connections: list[socket.socket] = []

    def _path(self, fd: int) -> str:
        return f"/proc/{os.getpid()}/fd/{fd}"

    def _child(self, before: list[tuple[int, int]], flags: int, what: str, maps: bool) -> int:
        """The namespace that a child has made, by a descriptor."""
        pid = os.fork()
        if not pid:
            for fd, kind in before:
                setns(fd, kind)
            unshare(flags)
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
        os.waitpid(pid, os.WUNTRACED)
        if maps:
            write(f"/proc/{pid}/setgroups", "deny")
            write(f"/proc/{pid}/uid_map", "0 0 1"), write(f"/proc/{pid}/gid_map", "0 0 1")
        fd = os.open(f"/proc/{pid}/ns/{what}", os.O_RDONLY)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return fd

    def _child_net(self, before: list[tuple[int, int]]) -> int:
        return self._child(before, NEWNET, "net", False)

    def _child_user(self) -> int:
        return self._child([], NEWUSER, "user", True)

    def _network(self) -> None:
        ip("link", "set", "lo", "up")
        write("/proc/sys/net/ipv4/ip_forward", "1"), write("/proc/sys/net/ipv6/conf/all/forwarding", "1")
        for name in ("all", "default", "lo"):
            write(f"/proc/sys/net/ipv4/conf/{name}/rp_filter", "0")
        for path in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
            path.write_text("0")
        ip("link", "add", "br0", "type", "bridge"), ip("addr", "add", f"{GATEWAY}/16", "dev", "br0")
        ip("-6", "addr", "add", "fd88::1/64", "dev", "br0", "nodad"), ip("link", "set", "br0", "up")
        ip("link", "add", "v0", "type", "veth", "peer", "name", "eth0")
        ip("link", "set", "v0", "master", "br0", "up"), ip("link", "set", "eth0", "netns", self._path(self.box))

    def _container(self) -> None:
        ip("link", "set", "lo", "up"), ip("addr", "add", f"{BOX}/16", "dev", "eth0")
        ip("-6", "addr", "add", f"{BOX6}/64", "dev", "eth0", "nodad"), ip("link", "set", "eth0", "up")
        ip("route", "add", "default", "via", GATEWAY), ip("-6", "route", "add", "default", "via", "fd88::1")

    def fork(self, net: int, act: Callable[[], Any], *, user: bool = False) -> tuple[int, int]:
        """(pid, descriptor of what it says)"""
        out, theirs = os.pipe()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                if user:
                    setns(self.r, NEWUSER)
                setns(net, NEWNET)
                os.write(theirs, repr(act()).encode())
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(theirs)
        return pid, out

    def result(self, child: tuple[int, int]) -> Any:
        with os.fdopen(child[1], "rb") as f:
            text = f.read().decode()
        assert os.waitpid(child[0], 0)[1] == 0, "a process of the scenario failed"
        return eval(text)

    def do(self, net: int, act: Callable[[], Any], *, user: bool = False) -> Any:
        return self.result(self.fork(net, act, user=user))

    def in_box(self, act: Callable[[], Any]) -> Any:
        return self.do(self.box, act, user=True)

    def start_link(self) -> None:
        ready, theirs = os.pipe()
        pid = os.fork()
        if not pid:
            setns(self.r, NEWUSER)
            os.set_inheritable(theirs, True), os.set_inheritable(self.rnet, True)
            os.execv(self.program, [self.program, "link", str(self.folder), str(self.rnet), str(theirs)])
        os.close(theirs)
        with os.fdopen(ready, "rb") as f:
            said = f.read()
        assert said == b"ok", said
        self.link_pid = pid

    def ask(self, text: str, *fds: int) -> str:
        """Of the link, by a connection that stays."""
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect(str(self.folder / "link.ctl"))
        socket.send_fds(s, [text.encode()], list(fds))
        s.settimeout(5)
        self.connections.append(s)
        return s.recv(100).decode()

    def hello(self) -> None:
        assert self.ask(f"hello {os.fstat(self.rnet).st_ino}") == "ok"

    def publish(self, kind: str, port: int, address: str = "0.0.0.0", to: str = BOX, to_port: int = 0) -> int:
        """The port of the host. As a monitor does, we keep the socket."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, port))
        self.held = [*getattr(self, "held", []), s]
        said = self.ask(f"publish {kind} {to} {to_port or port}", s.fileno())
        assert said == "ok", said
        return int(s.getsockname()[1])


def connect(address: str, port: int, timeout_s: float = 5.0) -> socket.socket:
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.settimeout(timeout_s)
    s.connect((address, port))
    return s


def until(check: Callable[[], Any], seconds: float = 5.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)
    return found


if __name__ == "__main__":
    import link_scenarios

    world = World(sys.argv[1])
    getattr(link_scenarios, sys.argv[2])(world)
    print("done")
