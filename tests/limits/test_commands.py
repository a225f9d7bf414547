"""pause, unpause, update, top, stats: what they say is what the kernel says."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from support import groups
from support.engine import Wherry

BUSY = ["sh", "-c", "while :; do :; done"]


def ticks(w: Wherry, name: str) -> int:
    fields = Path(f"/proc/{w.ok('inspect', '-f', '{{.State.Pid}}', name)}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_paused_container_stands_still(w_root: Wherry) -> None:
    w = w_root
    w.ok("run", "-d", "--name", "cx", "busybox", *BUSY)
    w.ok("pause", "cx")
    assert w.state("cx") == "paused" and "(Paused)" in w.ok("ps", "--format", "{{.Status}}")
    assert w.ok("inspect", "-f", "{{.State.Paused}} {{.State.Running}}", "cx") == "true true"
    before = ticks(w, "cx")
    time.sleep(0.3)
    assert ticks(w, "cx") == before
    done = w("exec", "cx", "true")
    assert done.returncode == 1 and "is paused, unpause the container before exec" in done.stderr, done
    assert "is already paused" in w("pause", "cx").stderr
    w.ok("unpause", "cx")
    w.until(lambda: ticks(w, "cx") > before)
    assert "is not paused" in w("unpause", "cx").stderr


@pytest.mark.parametrize("words", ["stop -t 5", "kill", "rm -f"])
def test_a_paused_container_can_be_ended(w_root: Wherry, words: str) -> None:
    w = w_root
    w.ok("run", "-d", "--name", "cx", "busybox", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done")
    w.ok("pause", "cx")
    w.ok(*words.split(), "cx", timeout=10)
    if words != "rm -f":
        assert w.ok("inspect", "-f", "{{.State.ExitCode}} {{.State.Paused}}", "cx") == ("3 false" if "stop" in words else "137 false")


def test_a_paused_container_whose_monitor_was_killed_is_cleaned_up(w_root: Wherry) -> None:
    w = w_root
    w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1000")
    w.ok("pause", "cx")
    w.host("kill", "-9", w.ok("inspect", "-f", "{{.Wherry.MonitorPid}}", "cx"))
    w.until_state("cx", "exited")
    w.ok("ps")
    w.until(lambda: not w.check())


def test_pause_without_a_freezer_is_refused_and_nothing_is_half_stopped(w_nosubids: Wherry) -> None:
    w = w_nosubids
    if groups.has(w, "pids"):
        pytest.skip("this user has control groups of his own")
    w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1000")
    done = w("pause", "cx")
    assert done.returncode == 1 and "no control groups" in done.stderr, done
    assert w.state("cx") == "running"
    w.ok("exec", "cx", "true")


def test_update_changes_a_running_container_and_its_record(w_root: Wherry) -> None:
    w = w_root
    w.ok("run", "-d", "--name", "cx", "-m", "64m", "busybox", "sleep", "1000")
    w.ok("update", "-m", "100m", "--memory-swap", "300m", "--cpus", "1", "--pids-limit", "99", "--cpu-shares", "256", "cx")
    found = [
        groups.value(w, "cx", "memory", "memory.limit_in_bytes", "memory.max"),
        groups.value(w, "cx", "memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
        groups.value(w, "cx", "pids", "pids.max", "pids.max"),
        groups.value(w, "cx", "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0],
    ]
    assert found == [str(100 << 20), str((200 if groups.V2 else 300) << 20), "99", "100000"]
    host = json.loads(w.ok("inspect", "cx"))[0]["HostConfig"]
    assert [host[k] for k in ("Memory", "MemorySwap", "PidsLimit", "CpuShares")] == [100 << 20, 300 << 20, 99, 256]
    w.ok("update", "-m", "32m", "--memory-swap", "64m", "cx")
    w.ok("restart", "-t", "0", "cx")
    assert groups.value(w, "cx", "memory", "memory.limit_in_bytes", "memory.max") == str(32 << 20)


def test_what_update_can_t_do_it_leaves_undone(w_root: Wherry) -> None:
    w = w_root
    w.ok("run", "-d", "--name", "cx", "-m", "64m", "--cpus", "1", "busybox", "sleep", "1000")
    done = w("update", "-m", "500m", "cx")
    assert done.returncode == 1 and "update the memoryswap at the same time" in done.stderr, done
    done = w("update", "--cpu-quota", "20000", "cx")
    assert done.returncode == 1 and "Conflicting options" in done.stderr, done
    assert "you must provide one or more flags" in w("update", "cx").stderr
    assert w("update", "-m", "100m", "nosuch").returncode == 1
    assert w.ok("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.CpuQuota}}", "cx") == f"{64 << 20} 0"


def test_update_of_the_restart_policy_reaches_the_monitor(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1000")
    w.ok("update", "--restart", "on-failure:2", "cx")
    w.host("kill", "-9", w.ok("inspect", "-f", "{{.State.Pid}}", "cx"))
    w.until(lambda: w.ok("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "cx") == "1 running")
    assert w.ok("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", "cx") == "on-failure"


def test_top_shows_the_processes_of_the_container_only(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "sh", "-c", "sleep 4321 & sleep 1234; true")
    w.ok("run", "-d", "--name", "cy", "busybox", "sleep", "9999")
    w.until(lambda: "sleep 4321" in w.ok("top", "cx"))
    lines = w.ok("top", "cx").splitlines()
    assert re.fullmatch(r"UID +PID +PPID +C +STIME +TTY +TIME +CMD", lines[0]), lines
    assert sorted(line.split(None, 7)[7] for line in lines[1:]) == ["sh -c sleep 4321 & sleep 1234; true", "sleep 1234", "sleep 4321"]
    assert w.ok("inspect", "-f", "{{.State.Pid}}", "cx") in [line.split()[1] for line in lines[1:]]


def test_top_with_options_of_ps(w_user: Wherry) -> None:
    if not shutil.which("ps"):
        pytest.skip("no ps here")
    w = w_user
    w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1234")
    lines = w.ok("top", "cx", "-o", "pid,args").splitlines()
    assert lines[0].split() == ["PID", "COMMAND"] and [line.split(None, 1)[1] for line in lines[1:]] == ["sleep 1234"], lines
    assert "Couldn't find PID field" in w("top", "cx", "-o", "args").stderr
    w.ok("stop", "-t", "0", "cx")
    assert "is not running" in w("top", "cx").stderr


def test_stats_are_the_kernel_s_figures(w: Wherry) -> None:
    words = ["-m", "64m"] if groups.has(w, "memory") else []
    w.ok("run", "-d", "--name", "cx", *words, "busybox", *BUSY)
    w.ok("create", "--name", "cy", "busybox")
    lines = w.ok("stats", "--no-stream").splitlines()
    assert lines[0].split("  ")[0] == "CONTAINER ID" and len(lines) == 2, lines
    found = json.loads(w.ok("stats", "--no-stream", "--format", "json", "cx"))
    assert sorted(found) == ["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"]
    assert found["PIDs"] == "1" and float(found["CPUPerc"].rstrip("%")) > 1
    assert re.fullmatch(r"[\d.]+[KM]iB / " + ("64MiB" if words else r"[\d.]+GiB"), found["MemUsage"]), found
    every = [json.loads(line) for line in w.ok("stats", "-a", "--no-stream", "--format", "json").splitlines()]
    assert {e["Name"]: e["CPUPerc"] == "--" for e in every} == {"cx": False, "cy": True}
    assert "No such container" in w("stats", "--no-stream", "nosuch").stderr


def test_stats_say_who_was_throttled_and_who_waited(w_root: Wherry) -> None:
    w = w_root
    w.ok("run", "-d", "--name", "cx", "--cpus", "0.1", "busybox", *BUSY)
    form = "{{.Throttled}} {{.OOMKills}} {{.CPUPressure}}"
    w.until(lambda: float(w.ok("stats", "--no-stream", "--format", form).partition("s")[0]) > 0.1)
    _throttled, kills, pressure = w.ok("stats", "--no-stream", "--format", form).split()
    assert kills == "0"
    assert pressure == "--" or pressure.endswith("%")


def test_stats_go_on_until_nobody_listens(w_user: Wherry) -> None:
    w = w_user
    w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1000")
    with w.popen("stats", "--interval", "0.1", "--format", "{{.Name}}", "cx") as process:
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(3)] == [b"cx"] * 3
        process.terminate()
