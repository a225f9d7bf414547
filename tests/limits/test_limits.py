"""Limits: what the kernel holds, read from its own files; what it can't hold is said."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from support import groups
from support.engine import Wherry

LIMITED = ["-m", "64m", "--memory-reservation", "32m", "--cpus", "0.5", "-c", "512", "--pids-limit", "40", "--cpuset-cpus", "0"]


def test_all_limits_are_in_the_kernel(w_root: Wherry) -> None:
    w = w_root
    w.ok("run", "-d", "--name", "cx", *LIMITED, "busybox", "sleep", "1000")
    found = {
        "memory": groups.value(w, "cx", "memory", "memory.limit_in_bytes", "memory.max"),
        "reservation": groups.value(w, "cx", "memory", "memory.soft_limit_in_bytes", "memory.low"),
        "pids": groups.value(w, "cx", "pids", "pids.max", "pids.max"),
        "cpuset": groups.value(w, "cx", "cpuset", "cpuset.cpus", "cpuset.cpus"),
        "shares": groups.value(w, "cx", "cpu", "cpu.shares", "cpu.weight"),
        "quota": groups.value(w, "cx", "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0],
        "swap": groups.value(w, "cx", "memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    }
    assert found == {
        "memory": str(64 << 20),
        "reservation": str(32 << 20),
        "pids": "40",
        "cpuset": "0",
        "shares": "20" if groups.V2 else "512",
        "quota": "50000",
        "swap": str((64 if groups.V2 else 128) << 20),
    }
    host = json.loads(w.ok("inspect", "cx"))[0]["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 128 << 20, 500_000_000, 40)


def test_a_memory_hog_is_ended_and_named(w_root: Wherry) -> None:
    w = w_root
    # Anonymous memory by the shell itself: one variable that doubles.
    done = w("run", "--name", "cx", "-m", "24m", "--memory-swap", "24m", "busybox", "sh", "-c", "x=aaaaaaaa; while :; do x=$x$x; done")
    assert done.returncode == 137, done
    assert w.ok("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "cx") == "true 137"
    w.ok("run", "--name", "cy", "-m", "24m", "busybox", "true")
    assert w.ok("inspect", "-f", "{{.State.OOMKilled}}", "cy") == "false"


def test_the_number_of_processes_is_bounded(w: Wherry) -> None:
    """Also for a user without control groups: there the kernel counts in the container's user namespace."""
    script = "i=0; while [ $i -lt 60 ]; do sleep 100 & i=$((i+1)); done; echo made $i"
    done = w("run", "--name", "cx", "--pids-limit", "30", "busybox", "sh", "-c", script)
    assert "fork" in done.stderr.lower(), done
    assert "made 60" not in done.stdout


def test_4096_processes_by_default(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1000")
    if groups.has(w, "pids"):
        assert groups.value(w, "cx", "pids", "pids.max", "pids.max") == "4096"
    else:
        words = w.ok("exec", "cx", "grep", "processes", "/proc/self/limits").split()
        assert words[2:4] == ["4096", "4096"]


def test_pids_limit_of_minus_one_takes_the_bound_away(w_root: Wherry) -> None:
    w_root.ok("run", "-d", "--name", "cx", "--pids-limit", "-1", "busybox", "sleep", "1000")
    assert groups.value(w_root, "cx", "pids", "pids.max", "pids.max") == "max"


def test_what_can_t_be_held_is_said_once_and_shown(w_user: Wherry) -> None:
    w = w_user
    if groups.has(w, "memory"):
        pytest.skip("this user has control groups of his own")
    done = w("run", "-d", "--name", "cx", "-m", "64m", "--cpus", "0.5", "busybox", "sleep", "1000")
    assert done.returncode == 0, done
    lines = [line for line in done.stderr.splitlines() if "not in force" in line]
    assert len(lines) == 1 and "--memory, --cpus" in lines[0], done.stderr
    shown = json.loads(w.ok("inspect", "cx"))[0]["Wherry"]["NotInForce"]
    assert [s for s in shown if "--memory" in s], shown
    w.ok("run", "-d", "--name", "cy", "busybox", "sleep", "1000")  # nothing was asked for, nothing is said


def test_a_restart_keeps_groups_and_limits(w_root: Wherry) -> None:
    w = w_root
    w.ok("run", "-d", "--name", "cx", "--restart", "always", "-m", "64m", "busybox", "sleep", "1000")
    w.host("kill", "-9", w.ok("inspect", "-f", "{{.State.Pid}}", "cx"))
    w.until(lambda: w.ok("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "cx") == "1 running")
    assert groups.value(w, "cx", "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)


def test_exec_is_within_the_limits(w_root: Wherry) -> None:
    w = w_root
    w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1000")
    w.ok("exec", "-d", "cx", "sleep", "77")
    folder = groups.of(w, "cx", "pids")
    assert folder is not None
    w.until(lambda: len((folder / "cgroup.procs").read_text().split()) == 2)


def test_all_containers_together_leave_the_host_its_reserve(w_root: Wherry) -> None:
    w = w_root
    w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1000")
    memory, pids, cpu = (groups.of(w, "cx", c) for c in ("memory", "pids", "cpu"))
    assert memory and pids and cpu
    text = (memory.parent / ("memory.max" if groups.V2 else "memory.limit_in_bytes")).read_text().strip()
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert total // 2 <= int(text) <= total - min(512 << 20, total // 2)
    assert int((pids.parent / "pids.max").read_text()) <= int(Path("/proc/sys/kernel/pid_max").read_text()) * 3 // 4
    weight = int((cpu.parent / ("cpu.weight" if groups.V2 else "cpu.shares")).read_text())
    assert weight == (50 if groups.V2 else 512)


def test_promising_more_memory_than_there_is_is_said(w_root: Wherry) -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    done = w_root("run", "-d", "-m", f"{total - (100 << 20)}b", "busybox", "sleep", "1000")
    assert done.returncode == 0 and "more memory is promised than there is" in done.stderr, done
    assert "WARNING: more memory is promised" in w_root("info").stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("-m 4m", "Minimum memory limit allowed is 6MB"),
        ("--memory-swap 64m", "You should always set the Memory limit when using Memoryswap limit, see usage"),
        ("-m 64m --memory-swap 32m", "Minimum memoryswap limit should be larger than memory limit, see usage"),
        ("-m 64m --memory-reservation 128m", "Minimum memory limit can not be less than memory reservation limit, see usage"),
        ("--cpus 1000", r"range of CPUs is from 0.01 to \d+.00, as there are only \d+ CPUs available"),
        ("--cpus 1 --cpu-period 50000", "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        ("--cpu-quota 10", "CPU cfs quota can not be less than 1ms"),
        ("--cpuset-cpus x", "Invalid value x for cpuset cpus"),
        ("--blkio-weight 5", "Range of blkio weight is from 10 to 1000"),
        ("--device-read-bps /dev/nosuch:1mb", "/dev/nosuch"),
    ],
)
def test_limits_that_make_no_sense(w_user: Wherry, words: str, text: str) -> None:
    done = w_user("run", "--rm", *words.split(), "busybox", "true")
    assert done.returncode == 125 and re.search(text, done.stderr), done


def test_processors_that_are_not_there_are_an_error_not_a_silence(w_root: Wherry) -> None:
    done = w_root("run", "--rm", "--cpuset-cpus", "0,500", "busybox", "true")
    assert done.returncode == 125 and "Requested CPUs are not available - requested 0,500, available: " in done.stderr, done
    assert w_root.ids() == []
