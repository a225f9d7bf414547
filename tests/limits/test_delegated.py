"""An ordinary user's control groups, where systemd delegates some: in the virtual machine (`make test-vm`), or on such a host."""

from __future__ import annotations

import json

import pytest

from support import groups
from support.engine import Wherry


@pytest.fixture
def delegated(w_user: Wherry) -> Wherry:
    if not groups.has(w_user, "memory"):
        pytest.skip("no control group is delegated to this user here")
    return w_user


def test_limits_of_a_user_are_in_the_kernel_and_nothing_is_complained_of(delegated: Wherry) -> None:
    w = delegated
    w.ok("run", "-d", "--name", "cx", "-m", "64m", "--pids-limit", "50", "busybox", "sleep", "1000")
    assert groups.value(w, "cx", "memory", "", "memory.max") == str(64 << 20)
    assert groups.value(w, "cx", "pids", "", "pids.max") == "50"
    folder = groups.of(w, "cx", "memory")
    assert folder is not None and f"user@{w.user.uid}.service/wherry/" in str(folder)
    assert json.loads(w.ok("inspect", "cx"))[0]["Wherry"]["NotInForce"] == []


def test_a_user_s_hog_is_ended_and_named(delegated: Wherry) -> None:
    w = delegated
    done = w("run", "--name", "cx", "-m", "24m", "--memory-swap", "24m", "busybox", "sh", "-c", "x=aaaaaaaa; while :; do x=$x$x; done")
    assert done.returncode == 137, done
    assert w.ok("inspect", "-f", "{{.State.OOMKilled}}", "cx") == "true"


def test_a_user_pauses_updates_and_looks(delegated: Wherry) -> None:
    w = delegated
    w.ok("run", "-d", "--name", "cx", "-m", "64m", "busybox", "sleep", "1000")
    w.ok("pause", "cx")
    assert w.state("cx") == "paused"
    w.ok("unpause", "cx")
    w.ok("update", "-m", "80m", "--memory-swap", "160m", "cx")
    assert groups.value(w, "cx", "memory", "", "memory.max") == str(80 << 20)
    found = json.loads(w.ok("stats", "--no-stream", "--format", "json", "cx"))
    assert found["MemUsage"].endswith("/ 80MiB") and found["PIDs"] == "1", found
    assert w.ok("exec", "cx", "cat", "/proc/self/cgroup") == w.ok("exec", "cx", "cat", "/proc/1/cgroup")


def test_what_systemd_does_not_delegate_is_said_with_the_remedy(delegated: Wherry) -> None:
    w = delegated
    if groups.has(w, "cpuset"):
        pytest.skip("all controllers are delegated here")
    done = w("run", "--rm", "--cpuset-cpus", "0", "busybox", "true")
    assert done.returncode == 0 and f"set Delegate=cpu cpuset io memory pids for user@{w.user.uid}.service" in done.stderr, done


def test_the_parent_leaves_the_host_its_reserve(delegated: Wherry) -> None:
    w = delegated
    w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1000")
    folder = groups.of(w, "cx", "memory")
    assert folder is not None
    assert (folder.parent / "memory.max").read_text().strip().isdigit() and (folder.parent / "pids.max").read_text().strip().isdigit()
