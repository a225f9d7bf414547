"""An ordinary user's control groups, where systemd delegates some: in the virtual machine (`make test-vm`), or on such a host."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from pathlib import Path

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


def test_from_beside_the_tree_a_scope_is_asked_for(w_root: Wherry, rootfs: Path) -> None:
    """A job or a login by `su` lies beside what systemd delegates: the user's manager is asked over D-Bus."""
    if not os.environ.get("WHERRY_IN_VM"):
        pytest.skip("runs in the virtual machine (make test-vm)")
    user = pwd.getpwnam("tester")
    place = Path(user.pw_dir) / "beside"
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "env", f"HOME={user.pw_dir}"]

    def wherry(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [*become, str(w_root.command), "--root", f"{place}/store", "--runroot", f"{place}/run", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd="/")

    assert "/user@" not in Path("/proc/self/cgroup").read_text()
    try:
        assert wherry("import", rootfs, "busybox").returncode == 0
        done = wherry("run", "-d", "--network", "none", "--name", "cx", "-m", "64m", "--pids-limit", "50", "busybox", "sleep", "1000")
        assert done.returncode == 0 and "not in force" not in done.stderr, done
        pid = wherry("inspect", "-f", "{{.State.Pid}}", "cx").stdout.strip()
        group = Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::")
        assert f"/user@{user.pw_uid}.service/wherry/" in group, group
        assert Path(f"/sys/fs/cgroup{group}/memory.max").read_text().strip() == str(64 << 20)
        monitor = wherry("inspect", "-f", "{{.Wherry.MonitorPid}}", "cx").stdout.strip()
        assert "/wherry-" in Path(f"/proc/{monitor}/cgroup").read_text()
        assert wherry("exec", "cx", "true").returncode == 0
        assert wherry("pause", "cx").returncode == 0 and wherry("unpause", "cx").returncode == 0
    finally:
        wherry("rm", "-f", "cx")
        wherry("rmi", "-f", "busybox")
    tree = Path(f"/sys/fs/cgroup/user.slice/user-{user.pw_uid}.slice/user@{user.pw_uid}.service/wherry")
    assert [path.name for path in tree.iterdir() if path.is_dir() and len(path.name) == 64] == []
