"""Restart policies: in the monitor, without Python."""

from __future__ import annotations

import time

from support.engine import Wherry


def count(w: Wherry, name: str) -> int:
    return int(w.ok("inspect", "-f", "{{.RestartCount}}", name))


def test_on_failure_stops_at_its_maximum(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "--restart", "on-failure:3", "busybox", "sh", "-c", "echo x; exit 4")
    w.until_state("cx", "exited")
    assert w.ok("logs", "cx").split() == ["x"] * 4
    assert (count(w, "cx"), w.ok("inspect", "-f", "{{.State.ExitCode}}", "cx")) == (3, "4")


def test_on_failure_leaves_success_alone(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "--restart", "on-failure", "busybox", "true")
    w.until_state("cx", "exited")
    assert count(w, "cx") == 0


def test_always_waits_longer_each_time(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "--restart", "always", "busybox", "sh", "-c", "cut -d ' ' -f 1 /proc/uptime; exit 0")
    w.until(lambda: len(w.ok("logs", "cx").split()) >= 5)
    w.ok("stop", "cx")
    times = [float(t) * 1000 for t in w.ok("logs", "cx").split()]
    waits = [b - a for a, b in zip(times, times[1:])]
    assert 90 <= waits[0] < 400 and waits[2] > waits[0] * 2, waits


def test_stop_and_kill_end_it(w: Wherry) -> None:
    for command in (["stop"], ["kill"]):
        w.ok("run", "-d", "--name", "cx", "--restart", "always", "busybox", "sleep", "1000")
        w.ok(*command, "-t", "0", "cx") if command == ["stop"] else w.ok("kill", "cx")
        time.sleep(0.5)
        assert w.state("cx") == "exited"
        w.ok("rm", "cx")


def test_stop_between_two_runs(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "--restart", "always", "busybox", "sh", "-c", "exit 1")
    w.until(lambda: w.state("cx") == "restarting")
    assert "Restarting (1)" in w.ok("ps", "--format", "{{.Status}}")
    w.ok("stop", "cx")
    time.sleep(0.5)
    assert w.state("cx") == "exited"
    w.ok("rm", "cx")


def test_started_again_by_hand_it_restarts_again(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "--restart", "unless-stopped", "busybox", "sh", "-c", "sleep 0.2; exit 1")
    w.ok("stop", "-t", "0", "cx")
    w.ok("start", "cx")
    w.until(lambda: count(w, "cx") >= 1)


def test_remove_while_restarting(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "--restart", "always", "busybox", "false")
    time.sleep(0.3)
    w.ok("rm", "-f", "cx")
    assert w.ids() == []


def test_bad_policies_are_refused(w: Wherry) -> None:
    for policy in ("sometimes", "on-failure:x", "always:3"):
        done = w("create", "--restart", policy, "busybox")
        assert done.returncode in (1, 125), policy
        assert "Traceback" not in done.stderr and done.stderr
