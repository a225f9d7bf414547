"""Root's networks: the default bridge, published ports, networks of one's own, isolation. What they promise is docker's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support.engine import Wherry

from .world import Outside, run, until_served

SERVER = str(Path(__file__).with_name("server.py"))
HTTPD = "mkdir -p /w; echo hello >/w/index.html; exec httpd -f -v -p 80 -h /w"


def networks(w: Wherry, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(w.ok("inspect", "-f", "{{json .NetworkSettings}}", name))
    return found


def address(w: Wherry, name: str, network: str = "bridge") -> str:
    return str(networks(w, name)["Networks"][network]["IPAddress"])


def served(w: Wherry, *options: str, name: str = "web") -> None:
    w.ok("run", "-d", "--name", name, *options, "busybox", "sh", "-c", HTTPD)
    w.until(lambda: w("exec", name, "wget", "-qO-", "http://127.0.0.1/").returncode == 0)


def fetched(w: Wherry, url: str, *options: str) -> bool:
    """Whether a container gets the page within a second. The shell stays the first process: that one ignores the signal of `timeout`."""
    return w("run", "--rm", *options, "busybox", "sh", "-c", f"timeout 1 wget -qO- {url}; exit $?").returncode == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


def test_the_default_network_reaches_outside_with_the_hosts_address(nw: Wherry, outside: Outside) -> None:
    outside.start(sys.executable, SERVER, outside.there, "8000")
    until_served(outside, 8000)
    assert nw.ok("run", "--rm", "busybox", "wget", "-qO-", f"http://{outside.there}:8000/") == outside.here
    shown = nw.ok("run", "--rm", "--name", "c1", "busybox", "sh", "-c", "ip -4 addr show eth0; ip route; cat /etc/hosts; hostname")
    assert "default via" in shown and "host.docker.internal" in shown


def test_a_published_port_shows_the_client_and_is_listed(nw: Wherry, outside: Outside) -> None:
    port = free_port()
    served(nw, "-p", f"{port}:80", "-p", "127.0.0.1::81/udp")
    assert outside.get(f"http://{outside.here}:{port}/") == "hello\n"
    assert outside.there in nw.ok("logs", "web") or outside.there in nw("logs", "web").stderr
    assert subprocess.run(["curl", "-sS", f"http://127.0.0.1:{port}/"], capture_output=True, text=True).stdout == "hello\n"
    # From a container, by the host's address: the way goes out and back (hairpin).
    assert nw.ok("run", "--rm", "busybox", "wget", "-qO-", f"http://{outside.here}:{port}/") == "hello"
    assert nw.ok("exec", "web", "wget", "-qO-", f"http://{outside.here}:{port}/") == "hello"
    lines = nw.ok("port", "web").splitlines()
    assert f"80/tcp -> 0.0.0.0:{port}" in lines and any(line.startswith("81/udp -> 127.0.0.1:") for line in lines)
    assert nw.ok("port", "web", "80") == f"0.0.0.0:{port}"
    assert f"0.0.0.0:{port}->80/tcp" in nw.ok("ps", "--format", "{{.Ports}}")
    done = nw("port", "web", "99")
    assert (done.returncode, done.stderr) == (1, "Error: no public port '99/tcp' published for web\n")
    nw.ok("stop", "-t", "0", "web")
    # Stopped: the port is free again at once.
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", port))
    assert nw.ok("ps", "-a", "--format", "{{.Ports}}") == ""


def test_a_port_in_use_is_an_error_that_names_its_holder(nw: Wherry) -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = nw("run", "--rm", "-p", f"{port}:80", "busybox", "true")
        assert done.returncode == 125 and f"failed to bind host port 0.0.0.0:{port}/tcp: address already in use" in done.stderr
        assert f"process {os.getpid()} " in done.stderr
        nw.ok("run", "-d", "--name", "first", "-p", f"127.0.0.2:{port + 1 if port < 65535 else 40000}:80", "busybox", "sleep", "100")
    taken = nw.ok("port", "first", "80").rpartition(":")[2]
    done = nw("run", "--rm", "-p", f"{taken}:80", "busybox", "true")
    assert done.returncode == 125 and "port is already allocated" in done.stderr and "the container first has it" in done.stderr
    # What is held is nobody else's either.
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.2", int(taken)))
        except OSError:
            pass
        else:
            raise AssertionError("the published port could be bound")


def test_ranges_and_random_ports(nw: Wherry) -> None:
    nw.ok("run", "-d", "--name", "r1", "-P", "--expose", "7000-7002", "busybox", "sleep", "100")
    lines = nw.ok("port", "r1").splitlines()
    assert [line.split(" ")[0] for line in lines] == ["7000/tcp", "7001/tcp", "7002/tcp"]
    base = 21000 + os.getpid() % 1000 * 3
    for name in ("r2", "r3"):
        nw.ok("run", "-d", "--name", name, "-p", f"127.0.0.9:{base}-{base + 2}:80", "busybox", "sleep", "100")
    assert nw.ok("port", "r2", "80") != nw.ok("port", "r3", "80")


def test_names_on_a_network_of_ones_own(nw: Wherry) -> None:
    nw.ok("network", "create", "front")
    nw.ok("run", "-d", "--name", "web", "--network", "front", "--network-alias", "www", "busybox", "sleep", "100")
    nw.ok("run", "-d", "--name", "client", "--network", "front", "busybox", "sleep", "100")
    for name in ("web", "www", nw.ok("inspect", "-f", "{{slice .Id 0 12}}", "web")):
        assert address(nw, "web", "front") in nw.ok("exec", "client", "ping", "-c1", "-W2", name)
    text = nw.ok("exec", "client", "cat", "/etc/resolv.conf")
    assert "nameserver 127.0.0.11\n" in text and "options" in text and "ndots:0" in text
    nw.ok("stop", "-t", "0", "web")
    assert nw("exec", "client", "ping", "-c1", "-W1", "web").stderr.strip().endswith("bad address 'web'")
    nw.ok("start", "web")
    nw.ok("rename", "web", "shop")
    assert nw.ok("exec", "client", "ping", "-c1", "-W2", "shop")
    assert nw("exec", "client", "ping", "-c1", "-W1", "web").stderr.strip().endswith("bad address 'web'")
    nw.ok("rm", "-f", "shop")
    done = nw("network", "rm", "front")
    assert done.returncode == 1 and 'network front has active endpoints (name:"client" id:"' in done.stderr


def test_networks_do_not_reach_each_other_and_internal_ones_nothing(nw: Wherry, outside: Outside) -> None:
    for words in (("left",), ("right",), ("--internal", "inner")):
        nw.ok("network", "create", *words)
    served(nw, "--network", "left", name="target")
    target = address(nw, "target", "left")
    assert nw.ok("run", "--rm", "--network", "left", "busybox", "wget", "-qO-", f"http://{target}/") == "hello"
    assert not fetched(nw, f"http://{target}/", "--network", "right")
    assert not fetched(nw, f"http://{target}/")
    # Nobody comes in from outside who was not let in by -p, not even with a route.
    assert outside.inside("curl", "-sS", "--max-time", "1", f"http://{target}/", check=False).returncode != 0
    outside.start(sys.executable, SERVER, outside.there, "8000")
    until_served(outside, 8000)
    assert not fetched(nw, f"http://{outside.there}:8000/", "--network", "inner")


def test_a_container_cannot_say_to_be_another_one(nw: Wherry) -> None:
    script = (
        "a=$(ip -4 -o addr show eth0 | awk '{print $4}'); g=$(ip route | awk '/default/{print $3}'); ping -c1 -W1 $g >/dev/null || exit 7;"
        "ip addr add ${a%.*}.99/${a#*/} dev eth0; ping -c1 -W1 -I ${a%.*}.99 $g >/dev/null && exit 8;"
        "ip link set eth0 address 02:42:01:02:03:04; ping -c1 -W1 $g >/dev/null && exit 9; exit 0"
    )
    done = nw("run", "--rm", "--cap-add", "NET_ADMIN", "busybox", "sh", "-c", script)
    assert done.returncode == 0, done


def test_connect_and_disconnect_a_running_container(nw: Wherry) -> None:
    nw.ok("network", "create", "--subnet", f"10.91.{os.getpid() % 250}.0/24", "extra")
    nw.ok("run", "-d", "--name", "mover", "--restart", "always", "busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    nw.ok("run", "-d", "--name", "other", "--network", "extra", "busybox", "sleep", "100")
    wanted = f"10.91.{os.getpid() % 250}.77"
    nw.ok("network", "connect", "--ip", wanted, "--alias", "moved", "extra", "mover")
    assert wanted in nw.ok("exec", "mover", "ip", "addr", "show", "eth1")
    assert wanted in nw.ok("exec", "other", "ping", "-c1", "-W2", "moved")
    assert nw.ok("exec", "mover", "ping", "-c1", "-W2", "other")
    # A restart without any command performs the plan as it is now.
    pid = nw.ok("inspect", "-f", "{{.State.Pid}}", "mover")
    os.kill(int(pid), signal.SIGKILL)
    nw.until(lambda: nw.ok("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "mover") == "1 running")
    assert wanted in nw.ok("exec", "mover", "ip", "addr")
    assert nw.ok("exec", "mover", "ping", "-c1", "-W2", "other")
    nw.ok("network", "disconnect", "extra", "mover")
    assert wanted not in nw.ok("exec", "mover", "ip", "addr")
    assert "default via" in nw.ok("exec", "mover", "ip", "route")
    assert set(networks(nw, "mover")["Networks"]) == {"bridge"}


def test_many_at_once_get_addresses_of_their_own(nw: Wherry) -> None:
    nw.ok("network", "create", "crowd")

    def start(number: int) -> None:
        nw.ok("run", "-d", "--name", f"m{number}", "--network", "crowd", "busybox", "sleep", "100")

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(start, range(24)))
    found = json.loads(nw.ok("network", "inspect", "-f", "{{json .Containers}}", "crowd"))
    assert len({c["IPv4Address"] for c in found.values()}) == 24
    assert nw.ok("exec", "m3", "ping", "-c1", "-W2", "m17")


def test_what_a_killed_monitor_held_comes_back(nw: Wherry) -> None:
    port = free_port()
    nw.ok("run", "-d", "--name", "victim", "-p", f"{port}:80", "busybox", "sleep", "100")
    was = address(nw, "victim")
    monitor = int(nw.ok("inspect", "-f", "{{.Wherry.MonitorPid}}", "victim"))
    os.kill(monitor, signal.SIGKILL)
    nw.until(lambda: nw.state("victim") == "exited")
    # The next command, whatever it is, has taken away what the monitor could not, also of a --rm container, whose rows go with it.
    nw.ok("run", "-d", "--rm", "--name", "passing", "-p", f"{port}:80", "busybox", "sleep", "100")
    os.kill(int(nw.ok("inspect", "-f", "{{.Wherry.MonitorPid}}", "passing")), signal.SIGKILL)
    nw.until(lambda: "passing" not in nw.ok("ps", "-a", "--format", "{{.Names}}").split())
    nw.ok("run", "-d", "--name", "heir", "-p", f"{port}:80", "busybox", "sleep", "100")
    assert address(nw, "heir") == was
    assert nw.check() == ""


def test_rules_come_back_after_a_flush(nw: Wherry) -> None:
    port = free_port()
    served(nw, "-p", f"{port}:80")
    tables = [line.split()[1:] for line in run("nft", "list", "tables").stdout.splitlines() if " wherry-" in line]
    link = json.loads(nw.ok("network", "inspect", "-f", "{{json .Wherry.Link}}", "bridge"))
    mine = [t for t in tables if link in run("nft", "list", "table", *t).stdout]
    assert mine
    for table in mine:
        run("nft", "delete", "table", *table)
    get = ["curl", "-sS", "--max-time", "1", f"http://127.0.0.1:{port}/"]
    assert subprocess.run(get, capture_output=True).returncode != 0
    nw.ok("network", "reload")
    assert subprocess.run(get, capture_output=True, text=True).stdout == "hello\n"
    for table in mine:
        run("nft", "delete", "table", *table)
    nw.ok("run", "--rm", "busybox", "true")
    assert subprocess.run(get, capture_output=True, text=True).stdout == "hello\n"


def test_ipv6_has_addresses_names_and_published_ports(nw: Wherry, outside: Outside) -> None:
    nw.ok("network", "create", "--ipv6", "six")
    port = free_port()
    served(nw, "--network", "six", "-p", f"{port}:80")
    own = networks(nw, "web")["Networks"]["six"]
    assert own["GlobalIPv6Address"] and own["IPv6Gateway"]
    assert outside.get(f"http://[{outside.here6}]:{port}/") == "hello\n"
    assert nw.ok("run", "--rm", "--network", "six", "busybox", "wget", "-qO-", f"http://[{own['GlobalIPv6Address']}]/") == "hello"
    assert sorted(line.split(" -> ")[1] for line in nw.ok("port", "web").splitlines()) == [f"0.0.0.0:{port}", f"[::]:{port}"]


def test_words_of_the_network_commands(nw: Wherry) -> None:
    subnet = f"10.92.{os.getpid() % 250}.0/24"
    nw.ok("network", "create", "--subnet", subnet, "--label", "a=b", "-o", "com.docker.network.bridge.enable_icc=false", "mine")
    assert nw("network", "create", "mine").stderr.strip().endswith("network with name mine already exists")
    done = nw("network", "create", "--subnet", subnet, "again")
    assert done.returncode == 1 and "Pool overlaps with other one on this address space" in done.stderr
    assert nw.ok("network", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines() == [
        "bridge bridge",
        "host host",
        "mine bridge",
        "none null",
    ]
    assert nw.ok("network", "ls", "-q", "--no-trunc", "-f", "label=a=b") == nw.ok("network", "inspect", "-f", "{{.Id}}", "mine")
    assert nw.ok("network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}}{{end}}", "mine") == subnet
    assert nw("network", "exists", "mine").returncode == 0 and nw("network", "exists", "absent").returncode == 1
    assert nw("network", "rm", "bridge").stderr.strip().endswith("bridge is a pre-defined network and cannot be removed")
    assert nw("network", "rm", "absent").stderr.strip().endswith("network absent not found")
    nw.ok("run", "-d", "--name", "ii", "--network", "mine", "busybox", "sleep", "100")
    nw.ok("run", "-d", "--name", "jj", "--network", "mine", "busybox", "sleep", "100")
    # icc=false: neighbours don't reach each other.
    assert nw("exec", "ii", "ping", "-c1", "-W1", address(nw, "jj", "mine")).returncode != 0
    nw.ok("rm", "-f", "ii", "jj")
    assert nw.ok("network", "prune", "-f") == "Deleted Networks:\nmine"
