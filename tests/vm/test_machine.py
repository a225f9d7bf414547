"""The virtual machine is what it is meant to be, and what depends on systemd and on control groups of version 2 alone."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from support import groups
from support.engine import Wherry

pytestmark = pytest.mark.skipif(not os.environ.get("WHERRY_IN_VM"), reason="runs in the virtual machine (make test-vm)")


def own_group() -> str:
    return Path("/proc/self/cgroup").read_text().strip()


def test_only_version_2_and_systemd_runs() -> None:
    assert Path("/sys/fs/cgroup/cgroup.controllers").exists()
    assert own_group().startswith("0::/") and "\n" not in own_group()
    assert Path("/proc/1/comm").read_text().strip() == "systemd"


def test_a_user_is_in_a_session_of_his_own() -> None:
    if os.geteuid() == 0:
        pytest.skip("root")
    uid = os.geteuid()
    folder = Path(f"/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service")
    assert own_group().startswith(f"0::/user.slice/user-{uid}.slice/user@{uid}.service/")
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set((folder / "cgroup.controllers").read_text().split())


def test_a_container_has_a_group_where_its_user_may_make_one(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "-m", "64m", "busybox", "sleep", "1000")
    folder = groups.of(w, "cx", "memory")
    assert folder is not None
    assert (folder / "memory.max").read_text().strip() == str(64 << 20)
    if not w.is_root:
        assert f"/user@{w.user.uid}.service/" in str(folder)
    # and sees it as the top
    assert w.ok("exec", "cx", "cat", "/proc/self/cgroup") == "0::/"


def test_a_memory_hog_of_anybody_s_is_ended_and_named(w: Wherry) -> None:
    script = "x=aaaaaaaa; while :; do x=$x$x; done"
    assert w("run", "--name", "cx", "-m", "24m", "--memory-swap", "24m", "busybox", "sh", "-c", script).returncode == 137
    assert w.ok("inspect", "-f", "{{.State.OOMKilled}}", "cx") == "true"


def test_limits_of_processes_and_processors_hold_for_anybody(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "--pids-limit", "20", "--cpus", "0.5", "--cpuset-cpus", "0", "busybox", "sleep", "1000")
    folder = groups.of(w, "cx", "pids")
    assert folder is not None
    read = {name: (folder / name).read_text().strip() for name in ("pids.max", "cpu.max", "cpuset.cpus")}
    assert read == {"pids.max": "20", "cpu.max": "50000 100000", "cpuset.cpus": "0"}


def test_the_network_of_the_host_is_another_s_to_break(w: Wherry) -> None:
    """sysfs and procfs of the machine are out of reach, whoever asks."""
    script = "echo 1 > /proc/sys/kernel/core_pattern; echo c > /proc/sysrq-trigger; mount -t cgroup2 none /mnt"
    assert w("run", "--rm", "busybox", "sh", "-c", script).returncode != 0
    assert Path("/proc/sys/kernel/core_pattern").read_text().strip() != "1"


def unit(w: Wherry, *words: str) -> list[str]:
    """systemd-run's words for a unit of this user's."""
    who = [] if w.is_root else ["--user"]
    return ["systemd-run", *who, "--quiet", "--collect", "--wait", "--pipe", f"--setenv=HOME={w.env['HOME']}", "--", *w.words(*words)]


def run(w: Wherry, words: list[str]) -> subprocess.CompletedProcess[str]:
    return w.host(*words, env={"XDG_RUNTIME_DIR": f"/run/user/{w.user.uid}"})


def test_a_systemd_unit_as_caller(w: Wherry) -> None:
    if not w.is_root and pwd.getpwuid(os.geteuid()).pw_uid != w.user.uid:
        pytest.skip("somebody else's session")
    done = run(w, unit(w, "run", "--rm", "busybox", "echo", "from a unit"))
    assert (done.returncode, done.stdout) == (0, "from a unit\n"), done
    done = run(w, unit(w, "run", "--rm", "busybox", "sh", "-c", "exit 7"))
    assert done.returncode == 7, done


def test_a_detached_container_outlives_the_unit_that_started_it(w: Wherry) -> None:
    """systemd ends what a unit leaves behind; a container is nobody's leftover (docker's daemon has it elsewhere, too)."""
    if not w.is_root and pwd.getpwuid(os.geteuid()).pw_uid != w.user.uid:
        pytest.skip("somebody else's session")
    done = run(w, unit(w, "run", "-d", "--name", "cx", "busybox", "sleep", "1000"))
    assert done.returncode == 0, done
    assert w.state("cx") == "running"
    assert w.ok("exec", "cx", "echo", "alive") == "alive"


def test_what_info_says(w: Wherry) -> None:
    assert w.ok("info", "-f", "{{.CgroupVersion}}") == "2"
