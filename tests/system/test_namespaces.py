"""Which namespaces a container has of its own, which it shares, and the ids of its users."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.engine import Wherry

NAMES = ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup")
SCRIPT = f"for n in {' '.join(NAMES)}; do readlink /proc/self/ns/$n; done"


def namespaces(w: Wherry, *options: str) -> dict[str, str]:
    return dict(zip(NAMES, w.ok("run", "--rm", *options, "busybox", "sh", "-c", SCRIPT).split()))


def host() -> dict[str, str]:
    return {n: os.readlink(f"/proc/self/ns/{n}") for n in NAMES}


def test_all_are_its_own(w: Wherry) -> None:
    found, ours = namespaces(w), host()
    assert [n for n in NAMES if found[n] == ours[n]] == []


@pytest.mark.parametrize(
    ("option", "name"), [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--network", "net"), ("--cgroupns", "cgroup")]
)
def test_of_the_host(w: Wherry, option: str, name: str) -> None:
    found, ours = namespaces(w, option, "host"), host()
    assert found[name] == ours[name]
    assert found["mnt"] != ours["mnt"]


@pytest.mark.parametrize(("option", "name"), [("--pid", "pid"), ("--ipc", "ipc"), ("--network", "net")])
def test_of_another_container(w: Wherry, option: str, name: str) -> None:
    ipc = ["--ipc", "shareable"] if name == "ipc" else []
    w.ok("run", "-d", "--name", "first", *ipc, "busybox", "sleep", "1000")
    theirs = dict(zip(NAMES, w.ok("exec", "first", "sh", "-c", SCRIPT).split()))
    found = namespaces(w, option, "container:first")
    assert found[name] == theirs[name]
    assert found["mnt"] != theirs["mnt"]
    assert found["user"] == theirs["user"]


def test_of_a_container_that_does_not_run(w: Wherry) -> None:
    ident = w.ok("create", "--name", "still", "busybox")
    done = w("run", "--rm", "--network", "container:still", "busybox", "true")
    assert done.returncode in (125, 126) and f"container {ident} is not running" in done.stderr
    assert w("run", "--rm", "--pid", "container:nobody", "busybox", "true").returncode == 125


def test_network_none_has_a_loopback(w: Wherry) -> None:
    script = "ls /sys/class/net; cat /sys/class/net/lo/operstate; ping -c 1 -W 1 127.0.0.1 > /dev/null && echo up"
    assert w.ok("run", "--rm", "--network", "none", "busybox", "sh", "-c", script).split()[0] == "lo"
    assert w.ok("run", "--rm", "--network", "none", "busybox", "sh", "-c", "ip addr show lo | grep -c 127.0.0.1/8") == "1"


def test_ids_are_never_the_host_s_root(w_root: Wherry) -> None:
    """Also root's containers get ids of their own, and never the same as another one's."""
    ranges = []
    for name in ("one", "two"):
        w_root.ok("run", "-d", "--name", name, "busybox", "sleep", "1000")
        inside, outside, count = w_root.ok("exec", name, "head", "-n", "1", "/proc/self/uid_map").split()
        assert (inside, count) == ("0", "65536") and int(outside) >= 65536
        ranges.append(int(outside))
        pid = w_root.ok("inspect", "-f", "{{.State.Pid}}", name)
        assert os.stat(f"/proc/{pid}").st_uid == int(outside)
    assert abs(ranges[0] - ranges[1]) >= 65536


def test_host_user_namespace_on_request(w_root: Wherry) -> None:
    assert namespaces(w_root, "--userns", "host")["user"] == host()["user"]
    assert w_root.ok("run", "--rm", "--userns", "host", "busybox", "cat", "/proc/self/uid_map").split() == ["0", "0", "4294967295"]


def test_user_s_root_is_the_user(w_user: Wherry) -> None:
    text = w_user.ok("run", "--rm", "busybox", "cat", "/proc/self/uid_map").split()
    assert text[:1] == ["0"]
    w_user.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1000")
    pid = w_user.ok("inspect", "-f", "{{.State.Pid}}", "cx")
    assert os.stat(f"/proc/{pid}").st_uid == w_user.user.uid


def test_one_id_is_enough(w_nosubids: Wherry) -> None:
    """Changes of owner succeed, so that a package manager works; the kernel's own answer would be EINVAL."""
    w = w_nosubids
    script = "touch /f && chown 1000:50 /f && chown -h alice /f && mkdir /d && chown -R bob:staff /d && su alice -c 'echo fine'"
    assert w.ok("run", "--rm", "busybox", "sh", "-c", script) == "fine"


def test_owner_in_the_image_is_seen(w: Wherry) -> None:
    owner = w.ok("run", "--rm", "busybox", "stat", "-c", "%u:%g", "/home/alice")
    assert owner == ("0:0" if w.single_id else "1000:1000")
    assert w.ok("run", "--rm", "busybox", "stat", "-c", "%u:%g", "/etc/passwd") == "0:0"


def test_control_group_is_its_own(w_root: Wherry) -> None:
    w_root.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1000")
    pid = w_root.ok("inspect", "-f", "{{.State.Pid}}", "cx")
    ident = w_root.ok("inspect", "-f", "{{.Id}}", "cx")
    assert ident in Path(f"/proc/{pid}/cgroup").read_text()


def test_init_of_the_machine_is_out_of_sight(w: Wherry) -> None:
    assert w.ok("run", "--rm", "busybox", "sh", "-c", "ls -d /proc/[0-9]* | wc -l").split()[0] in ("2", "3", "4")


def test_domain_name(w: Wherry) -> None:
    assert (
        w.ok("run", "--rm", "-h", "box", "--domainname", "example.test", "busybox", "cat", "/proc/sys/kernel/domainname") == "example.test"
    )


def test_mount_namespace_has_no_way_to_the_host(w: Wherry) -> None:
    lines = w.ok("run", "--rm", "busybox", "cat", "/proc/self/mountinfo").splitlines()
    assert sum(line.split()[4] == "/" for line in lines) == 1
    assert not any("shared:" in line for line in lines)
    assert not any(
        str(w.base) in line.split(" - ")[0] for line in lines if line.split()[4] not in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
    )
