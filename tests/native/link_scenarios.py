"""What the link must do, told in the world of link_world.py: each function is one scenario. `done` at the end says that all held."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from link_world import BOX6, FAR, FAR6, GATEWAY, HOST, World, connect, until

from support import dns

RESET = struct.pack("ii", 1, 0)


def listen(address: str, port: int, handle: Callable[[socket.socket, Any], None]) -> None:
    """Serves for ever; to be run by World.fork."""
    s = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=4096)
    while True:
        c, a = s.accept()
        threading.Thread(target=lambda c=c, a=a: handle(c, a), daemon=True).start()


def up(world: World, net: int, address: str, port: int, handle: Callable[[socket.socket, Any], None], *, user: bool = False) -> None:
    world.fork(net, lambda: listen(address, port, handle), user=user)

    def there() -> bool:
        with open("/proc/net/tcp6" if ":" in address else "/proc/net/tcp") as f:
            return any(f":{port:04X} " in line.split()[1] + " " and line.split()[3] == "0A" for line in f.readlines()[1:])

    until(lambda: world.do(net, there, user=user))


def who(c: socket.socket, a: Any) -> None:
    c.sendall(a[0].encode())
    c.close()


def hashed(c: socket.socket, _a: Any) -> None:
    """Reads to the end, then says what it was: half-closed connections must carry the answer."""
    h, n = hashlib.sha256(), 0
    while data := c.recv(1 << 16):
        h.update(data)
        n += len(data)
    c.sendall(f"{n} {h.hexdigest()}".encode())
    c.close()


def source(c: socket.socket, _a: Any) -> None:
    """Says what it will send, then sends it."""
    data = os.urandom(1 << 20) * 8
    c.sendall(hashlib.sha256(data).hexdigest().encode() + data)
    c.close()


def echo(c: socket.socket, _a: Any) -> None:
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := c.recv(1 << 16):
        c.sendall(data)
    c.close()


def reset(c: socket.socket, _a: Any) -> None:
    c.recv(1)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    c.close()


def read_all(s: socket.socket) -> bytes:
    data = []
    while more := s.recv(1 << 16):
        data.append(more)
    return b"".join(data)


def sends(address: str, port: int, mb: int = 8) -> None:
    data = os.urandom(1 << 20) * mb
    with connect(address, port, 30) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        assert read_all(s).decode() == f"{len(data)} {hashlib.sha256(data).hexdigest()}"


def receives(address: str, port: int) -> None:
    with connect(address, port, 30) as s:
        data = read_all(s)
    assert len(data) == 64 + (8 << 20)
    assert hashlib.sha256(data[64:]).hexdigest().encode() == data[:64]


def fails(address: str, port: int, timeout_s: float = 1.0) -> Any:
    try:
        connect(address, port, timeout_s).close()
    except TimeoutError:
        return "silent"
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "connected"


def tcp_out(world: World) -> None:
    """Both families, both directions, half-closed, reset; the far end sees the host."""
    world.start_link(), world.hello()
    for address in (FAR, FAR6):
        up(world, world.far, address, 80, hashed), up(world, world.far, address, 81, source), up(world, world.far, address, 82, who)
        world.in_box(lambda a=address: sends(a, 80))
        world.in_box(lambda a=address: receives(a, 81))
        assert world.in_box(lambda a=address: read_all(connect(a, 82)).decode()) == (HOST if address == FAR else "2001:db8:7::1")
    up(world, world.far, FAR, 83, reset)

    def is_reset() -> str:
        with connect(FAR, 83) as s:
            s.sendall(b"x")
            try:
                return repr(s.recv(10))
            except ConnectionResetError:
                return "reset"

    assert world.in_box(is_reset) == "reset"


def tcp_fails_as_outside(world: World) -> None:
    """A refused port is refused, one that is silent stays silent, a place without a way has none."""
    world.start_link(), world.hello()
    import subprocess

    table = "table ip t { chain c { type filter hook input priority 0; tcp dport 99 drop; }; }"
    world.do(world.far, lambda: subprocess.run(["nft", "-f", "-"], input=table, text=True, check=True).returncode)
    begin = time.monotonic()
    assert world.in_box(lambda: fails(FAR, 80)) == "ECONNREFUSED"
    assert world.in_box(lambda: fails(FAR6, 80)) == "ECONNREFUSED"
    assert time.monotonic() - begin < 0.9
    assert world.in_box(lambda: fails(FAR, 99)) == "silent"
    assert world.in_box(lambda: fails("203.0.113.9", 80)) == "ENETUNREACH"
    up(world, world.far, FAR, 80, who)
    assert world.in_box(lambda: fails(FAR, 80)) == "connected", "what failed before is asked again"


def the_host_is_out_of_reach(world: World) -> None:
    """Its loopback is, by every name; what it offers to all is not."""
    world.start_link(), world.hello()
    up(world, world.host, "127.0.0.1", 70, who), up(world, world.host, "0.0.0.0", 71, who), up(world, world.host, "::1", 70, who)
    assert world.in_box(lambda: fails("127.0.0.1", 70)) == "ECONNREFUSED", "the container's own"
    assert world.in_box(lambda: fails(HOST, 70)) == "ECONNREFUSED"
    assert world.in_box(lambda: fails("169.254.1.1", 70)) == "ECONNREFUSED"
    assert world.in_box(lambda: fails("0.0.0.0", 70)) == "ECONNREFUSED"
    assert world.in_box(lambda: fails("::ffff:127.0.0.1", 70)) != "connected"
    assert world.in_box(lambda: fails("::127.0.0.1", 70)) != "connected"
    assert world.in_box(lambda: fails(HOST, 71)) == "connected"
    import subprocess

    subprocess.run(["ip", "route", "add", "default", "via", FAR], check=True)
    assert world.in_box(lambda: fails("169.254.1.2", 71)) == "connected", "host.containers.internal"
    # Somebody with all capabilities in his own namespaces can't get at it by a route either.
    subprocess_words = ["ip", "route", "add", "127.0.0.0/8", "via", GATEWAY, "table", "main"]
    world.in_box(lambda: subprocess.run(subprocess_words, capture_output=True).returncode)
    assert world.do(world.rnet, lambda: fails("127.0.0.1", 70), user=True) == "ECONNREFUSED"


def udp_out(world: World) -> None:
    world.start_link(), world.hello()

    def echoes(address: str) -> None:
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((address, 80))
        while True:
            data, a = s.recvfrom(70000)
            s.sendto(data, a)

    world.fork(world.far, lambda: echoes(FAR)), world.fork(world.far, lambda: echoes(FAR6))

    def ask(address: str, sizes: tuple[int, ...], port: int = 80) -> str:
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(2)
        s.connect((address, port))
        try:
            for size in sizes:
                data = os.urandom(size)
                for attempt in range(20):
                    s.send(data)
                    try:
                        assert s.recv(70000) == data
                        break
                    except ConnectionRefusedError:  # it isn't there yet
                        assert attempt < 19 and port == 80
                        time.sleep(0.05)
        except AssertionError:
            return "refused"
        return "ok"

    assert world.in_box(lambda: ask(FAR, (1, 1400, 9000, 65507, 0))) == "ok"
    assert world.in_box(lambda: ask(FAR6, (1, 1400, 9000, 65000))) == "ok"
    assert world.in_box(lambda: ask(FAR, (1,), 99)) == "refused"

    def many() -> int:
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(300)]
        for i, s in enumerate(sockets):
            s.settimeout(2)
            s.sendto(str(i).encode(), (FAR, 80))
        return sum(answered(i, s) for i, s in enumerate(sockets))

    def answered(i: int, s: socket.socket) -> bool:
        """UDP may lose something on a busy machine: then it is asked again."""
        for _ in range(3):
            try:
                return s.recv(100) == str(i).encode()
            except TimeoutError:
                s.sendto(str(i).encode(), (FAR, 80))
        return False

    assert world.in_box(many) == 300


def ping_out(world: World) -> None:
    try:
        with open("/proc/sys/net/ipv4/ping_group_range", "w") as f:
            f.write("0 0")
    except OSError:
        print("no right to allow pings here")
        return
    world.start_link(), world.hello()

    def ping() -> bytes:
        s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        s.settimeout(3)
        s.connect((FAR, 0))
        head = struct.pack(">BBHHH", 8, 0, 0, 0x4242, 7) + b"hello"
        total = sum(struct.unpack(">7H", head + b"\0"))
        total = (total & 0xFFFF) + (total >> 16)
        s.send(head[:2] + struct.pack(">H", 0xFFFF & ~((total & 0xFFFF) + (total >> 16))) + head[4:])
        return s.recv(100)[20:]

    answer = world.in_box(ping)
    assert answer[0] == 0 and answer[4:] == b"\x42\x42\0\7hello", answer


def published_tcp(world: World) -> None:
    """The container sees the client; one of the loopback, or of the other family, is the gateway."""
    world.start_link()
    up(world, world.box, "0.0.0.0", 80, who, user=True), up(world, world.box, BOX6, 81, who, user=True)
    up(world, world.box, "0.0.0.0", 82, hashed, user=True), up(world, world.box, "0.0.0.0", 83, source, user=True)
    world.publish("tcp", 8080, to_port=80), world.publish("tcp", 8081, "::", BOX6, 81), world.publish("tcp", 8082, to_port=82)
    world.publish("tcp", 8083, to_port=83), world.publish("tcp", 8084, to_port=84)
    assert world.do(world.far, lambda: read_all(connect(HOST, 8080)).decode()) == FAR
    assert world.do(world.far, lambda: read_all(connect("2001:db8:7::1", 8081)).decode()) == FAR6
    assert world.do(world.far, lambda: read_all(connect(HOST, 8081)).decode()) == "fd88::1", "the gateway's"
    assert read_all(connect("127.0.0.1", 8080)).decode() == GATEWAY
    assert read_all(connect(HOST, 8080)).decode() == HOST
    world.do(world.far, lambda: sends(HOST, 8082)), world.do(world.far, lambda: receives(HOST, 8083))

    def closed() -> str:
        try:
            with connect(HOST, 8084) as s:
                return repr(s.recv(10))
        except ConnectionResetError:
            return "reset"

    assert world.do(world.far, closed) == "reset"


def published_udp(world: World) -> None:
    world.start_link()

    def says_who() -> None:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("0.0.0.0", 80))
        while True:
            data, a = s.recvfrom(70000)
            s.sendto(a[0].encode() + b" " + data, a)

    world.fork(world.box, says_who, user=True)
    world.publish("udp", 8080, to_port=80), world.publish("udp", 8081, "::", to_port=80)

    def ask(address: str, port: int, size: int = 10) -> str:
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(0.5)
        data = b"x" * size
        for _ in range(10):
            s.sendto(data, (address, port))
            try:
                got, a = s.recvfrom(70000)
            except TimeoutError:
                continue
            assert a[0] == address and got.endswith(b" " + data)
            return got.split()[0].decode()
        return "nobody"

    assert world.do(world.far, lambda: ask(HOST, 8080)) == FAR
    assert world.do(world.far, lambda: ask(HOST, 8080, 60000)) == FAR
    assert world.do(world.far, lambda: ask(HOST, 8081)) == FAR, "a client of version 4 at a socket of both"
    assert ask("127.0.0.1", 8080) == GATEWAY


def crowd(world: World) -> None:
    """Hundreds of connections at once, each with its own answer."""
    world.start_link()
    up(world, world.box, "0.0.0.0", 80, echo, user=True), up(world, world.far, FAR, 80, echo)
    world.publish("tcp", 8080, to_port=80)

    def all_at_once(address: str, port: int, count: int) -> int:
        connections = [connect(address, port, 20) for _ in range(count)]
        for i, s in enumerate(connections):
            s.sendall(b"%d" % i)
        return sum(s.recv(10) == b"%d" % i for i, s in enumerate(connections))

    assert world.do(world.far, lambda: all_at_once(HOST, 8080, 400)) == 400
    assert world.in_box(lambda: all_at_once(FAR, 80, 400)) == 400
    folder = f"/proc/{world.link_pid}/fd"
    pipes = 0
    for n in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # connections of the scenario are being ended
            pipes += os.readlink(f"{folder}/{n}").startswith("pipe:")
    assert pipes <= 80, "idle connections hold no pipes"


def names(world: World) -> None:
    """169.254.1.53 answers with the host's servers."""
    server = dns.Server(lambda q, _how: [dns.answer(q, ["192.0.2.1"])])
    world.start_link(), world.hello()
    (world.folder / "resolv.new").write_text(f"server 127.0.0.1#{server.port}\n")
    (world.folder / "resolv.new").rename(world.folder / "resolv")

    def ask() -> list[str]:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(3)
        s.sendto(dns.query("example.org"), ("169.254.1.53", 53))
        return dns.read(s.recv(1000)).records

    assert world.in_box(ask) == ["192.0.2.1"]


def death(world: World) -> None:
    """Killed and started again: new connections work, old ones are reset, ports that were kept are served again."""
    world.start_link()
    up(world, world.far, FAR, 80, echo), up(world, world.box, "0.0.0.0", 80, who, user=True)
    world.publish("tcp", 8080, to_port=80)
    begin, go = os.pipe(), os.pipe()

    def outlives_it() -> str:
        with connect(FAR, 80) as s:
            s.sendall(b"one")
            assert s.recv(10) == b"one"
            os.write(begin[1], b"x"), os.read(go[0], 1)
            try:
                s.sendall(b"two")
                return repr(s.recv(10))
            except ConnectionError:
                return "reset"

    child = world.fork(world.box, outlives_it, user=True)
    os.read(begin[0], 1)
    os.kill(world.link_pid, signal.SIGKILL)
    os.waitpid(world.link_pid, 0)
    waiting = world.fork(world.far, lambda: read_all(connect(HOST, 8080, 20)).decode())
    time.sleep(0.1)
    world.start_link()
    held = world.held[0]
    assert world.ask("publish tcp 10.88.0.2 80", held.fileno()) == "ok"
    assert world.result(waiting) == FAR, "it waited in the queue"
    os.write(go[1], b"x")
    assert world.result(child) in ("reset", "b''")
    assert world.in_box(lambda: fails(FAR, 80)) == "connected"
    for s in world.connections:
        s.close()
    until(lambda: os.waitpid(world.link_pid, os.WNOHANG)[0], 5)


def asks_wrongly(world: World) -> None:
    world.start_link()
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    for text in ("publish", "publish tcp 10.88.0.2 0", "publish tcp nowhere 80", "publish udp 10.88.0.2 80", "x" * 128):
        assert world.ask(text, s.fileno()).startswith("error"), text
    assert world.ask("publish tcp 10.88.0.2 80") == "error 22", "no socket"
    assert world.ask("publish tcp 10.88.0.2 80", s.fileno()) == "ok"
