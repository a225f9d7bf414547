"""Networks of an ordinary user, by the installed command: published ports, names, the outside, and the death of the link."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest

from support.engine import Wherry
from support.place import SOAK


@pytest.fixture(params=["w_user", "w_nosubids"])
def user(request: pytest.FixtureRequest) -> Iterator[Wherry]:
    w: Wherry = request.getfixturevalue(request.param)
    if w.is_root:
        pytest.skip("an ordinary user's")
    yield w
    for name in w.ok("ps", "-aq").split():
        w("rm", "-f", name)
    w("network", "prune", "-f")


SERVER = "mkdir /tmp/w; echo hello > /tmp/w/index.html; exec httpd -f -v -p 80 -h /tmp/w"


def serve(w: Wherry, *words: str) -> str:
    return w.ok("run", "-d", "-p", "127.0.0.1::80", *words, "busybox", "sh", "-c", SERVER).strip()


def port_of(w: Wherry, container: str) -> int:
    return int(w.ok("port", container, "80").split()[0].rpartition(":")[2])


def fetch(port: int, seconds: float = 5.0) -> str:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def link_of(w: Wherry) -> int:
    return int((w.runroot / "net/link").read_text().split()[0])


def test_a_published_port_is_served_and_free_again_when_the_container_has_ended(user: Wherry) -> None:
    container = serve(user)
    port = port_of(user, container)
    assert fetch(port) == "hello\n"
    taken = user("run", "--rm", "-p", f"127.0.0.1:{port}:80", "busybox", "true")
    assert taken.returncode == 125 and "port is already allocated" in taken.stderr
    user.ok("restart", "-t", "0", container)
    assert fetch(port_of(user, container)) == "hello\n"
    user.ok("rm", "-f", container)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))


def test_a_dead_link_is_replaced_within_a_second(user: Wherry) -> None:
    container = serve(user)
    port, old = port_of(user, container), link_of(user)
    assert fetch(port) == "hello\n"
    os.kill(old, signal.SIGKILL)
    begin = time.monotonic()
    assert fetch(port) == "hello\n"
    assert time.monotonic() - begin < 1.0 and link_of(user) != old
    assert user.ok("exec", container, "true") == ""


def test_starts_survive_the_death_of_the_link_at_any_time(user: Wherry) -> None:
    container = serve(user)
    port, chaos = port_of(user, container), random.Random(8)
    for _ in range(SOAK or 5):
        p = user.popen("run", "--rm", "-p", "127.0.0.1::80", "busybox", "true")
        time.sleep(chaos.random() * 0.3)
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, ValueError):
            os.kill(link_of(user), signal.SIGKILL)
        _out, error = p.communicate(timeout=20)
        assert p.returncode == 0, error
    assert fetch(port) == "hello\n"
    assert "sound" in user.ok("system", "check")


def test_the_outside_is_reached_and_the_hosts_loopback_is_not(user: Wherry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"nc -w 2 127.0.0.1 {port} </dev/null; echo $?; nc -w 2 169.254.1.1 {port} </dev/null; echo $?"
        assert user.ok("run", "--rm", "busybox", "sh", "-c", script).split() == ["1", "1"]
        server.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            server.accept()
            pytest.fail("a container came to the host's loopback")


def test_networks_have_names_and_are_apart(user: Wherry) -> None:
    user.ok("network", "create", "one"), user.ok("network", "create", "two")
    user.ok("run", "-d", "--name", "web", "--network", "one", "--network-alias", "shop", "busybox", "sleep", "1000")
    lookup = "nslookup -type=a {} 127.0.0.11 2>&1 | grep -c '^Name'; true"
    assert user.ok("run", "--rm", "--network", "one", "busybox", "sh", "-c", lookup.format("web")).strip() == "1"
    assert user.ok("run", "--rm", "--network", "one", "busybox", "sh", "-c", lookup.format("shop")).strip() == "1"
    address = user.ok("inspect", "-f", "{{.NetworkSettings.Networks.one.IPAddress}}", "web").strip()
    ping = f"ping -c 1 -W 1 {address} >/dev/null; echo $?"
    assert user.ok("run", "--rm", "--network", "one", "busybox", "sh", "-c", ping).strip() == "0"
    other = user.ok("run", "-d", "--network", "two", "busybox", "sleep", "1000").strip()
    assert user.ok("exec", other, "sh", "-c", ping).strip() == "1"
    user.ok("network", "connect", "one", other)
    assert user.ok("exec", other, "sh", "-c", ping).strip() == "0"
    user.ok("network", "disconnect", "one", other)
    assert user.ok("exec", other, "sh", "-c", ping).strip() == "1"


def test_the_link_goes_with_the_last_container(user: Wherry) -> None:
    container = user.ok("run", "-d", "busybox", "sleep", "1000").strip()
    pid = link_of(user)
    assert os.path.exists(f"/proc/{pid}")
    user.ok("rm", "-f", container)
    end = time.monotonic() + 3
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < end, "it stays"
        time.sleep(0.02)
