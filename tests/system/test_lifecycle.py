"""create, start, stop, kill, restart, rm, rename, wait, prune."""

from __future__ import annotations

import subprocess
import time

import pytest

from support.engine import Wherry

IDLE = ("sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done")


def test_create_start_attach(w: Wherry) -> None:
    ident = w.ok("create", "--name", "cx", "busybox", "echo", "hello")
    assert len(ident) == 64
    assert w.state("cx") == "created"
    assert w.ok("start", "-a", "cx") == "hello"
    assert w.state("cx") == "exited"
    assert w.ok("start", "cx") == "cx"
    w.until_state("cx", "exited")
    assert w.ok("logs", "cx") == "hello\nhello"


def test_start_attached_gives_the_exit_code(w: Wherry) -> None:
    w.ok("create", "--name", "cx", "-i", "busybox", "sh", "-c", "cat; exit 11")
    done = w("start", "-a", "-i", "cx", input="in")
    assert (done.returncode, done.stdout) == (11, "in")


def test_writable_layer_outlives_a_stop(w: Wherry) -> None:
    w.ok("create", "--name", "cx", "busybox", "sh", "-c", "echo x >> /file; wc -l < /file")
    assert [w.ok("start", "-a", "cx") for _ in range(3)] == ["1", "2", "3"]


def test_start_of_a_running_one_changes_nothing(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", *IDLE)
    pid = w.ok("inspect", "-f", "{{.State.Pid}}", "cx")
    assert w.ok("start", "cx") == "cx"
    assert w.ok("inspect", "-f", "{{.State.Pid}}", "cx") == pid


def test_stop_sends_term(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", *IDLE)
    assert w.ok("stop", "cx") == "cx"
    assert w.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "cx") == "exited 3"
    assert w.ok("stop", "cx") == "cx"


def test_stop_escalates(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    start = time.monotonic()
    assert w.ok("stop", "-t", "1", "cx") == "cx"
    assert 0.9 < time.monotonic() - start < 4
    assert w.ok("inspect", "-f", "{{.State.ExitCode}}", "cx") == "137"


def test_stop_with_another_signal(w: Wherry) -> None:
    script = "trap 'exit 21' USR1; trap 'exit 22' USR2; while :; do sleep 0.05; done"
    w.ok("run", "-d", "--name", "cx", "--stop-signal", "SIGUSR1", "busybox", "sh", "-c", script)
    w.ok("stop", "cx")
    assert w.ok("wait", "cx") == "21"
    w.ok("start", "cx")
    w.ok("stop", "-s", "USR2", "cx")
    assert w.ok("wait", "cx") == "22"


def test_kill(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", *IDLE)
    assert w.ok("kill", "cx") == "cx"
    assert w.ok("wait", "cx") == "137"
    done = w("kill", "cx")
    assert done.returncode == 1 and "is not running" in done.stderr


def test_kill_with_a_signal(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "sh", "-c", "trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done")
    w.until(lambda: "ready" in w.ok("logs", "cx"))
    w.ok("kill", "-s", "HUP", "cx")
    w.until(lambda: "hup" in w.ok("logs", "cx"))
    assert w.state("cx") == "running"
    done = w("kill", "-s", "NOSUCH", "cx")
    assert done.returncode == 1 and "NOSUCH" in done.stderr


def test_restart(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", *IDLE)
    first = w.ok("inspect", "-f", "{{.State.Pid}}", "cx")
    assert w.ok("restart", "-t", "2", "cx") == "cx"
    assert w.state("cx") == "running"
    assert w.ok("inspect", "-f", "{{.State.Pid}}", "cx") != first
    w.ok("stop", "cx")
    w.ok("restart", "cx")
    assert w.state("cx") == "running"


def test_remove(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", *IDLE)
    done = w("rm", "cx")
    assert done.returncode == 1
    assert "container is running: stop the container before removing or force remove" in done.stderr
    assert w.ok("rm", "-f", "cx") == "cx"
    done = w("rm", "cx")
    assert done.returncode == 1 and "No such container: cx" in done.stderr
    assert w("rm", "-f", "cx").returncode in (0, 1)


def test_several_names_go_on_after_an_error(w: Wherry) -> None:
    for name in ("one", "two"):
        w.ok("create", "--name", name, "busybox", "true")
    done = w("rm", "one", "missing", "two")
    assert done.returncode == 1
    assert done.stdout.split() == ["one", "two"]
    assert "No such container: missing" in done.stderr


def test_names_ids_and_prefixes(w: Wherry) -> None:
    ident = w.ok("create", "--name", "alpha", "busybox", "true")
    for word in ("alpha", "/alpha", ident, ident[:12], ident[:4]):
        assert w.ok("inspect", "-f", "{{.Id}}", word) == ident
    w.ok("rename", "alpha", "beta")
    assert w.ok("inspect", "-f", "{{.Name}}", ident) == "/beta"
    assert w("inspect", "alpha").returncode == 1
    w.ok("create", "--name", "alpha", "busybox", "true")
    done = w("rename", "beta", "alpha")
    assert done.returncode == 1 and "already in use" in done.stderr


def test_wait(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "sh", "-c", "sleep 0.4; exit 13")
    w.ok("run", "-d", "--name", "cy", "busybox", "sh", "-c", "exit 14")
    assert w.ok("wait", "cx", "cy") == "13\n14"
    assert w.ok("wait", "cx") == "13"
    assert w("wait", "nobody").returncode == 1


def test_prune(w: Wherry) -> None:
    w.ok("create", "--name", "old", "busybox", "true")
    w.ok("run", "-d", "--name", "live", "busybox", *IDLE)
    out = w.ok("container", "prune", "-f")
    assert "Deleted Containers:" in out and "Total reclaimed space:" in out
    assert w.ok("ps", "-a", "--format", "{{.Names}}") == "live"
    refused = w("container", "prune", input="n\n")
    assert "WARNING! This will remove all stopped containers." in refused.stdout + refused.stderr


@pytest.mark.parametrize("verb", ["start", "stop", "kill", "restart", "rm", "inspect", "logs", "wait", "attach"])
def test_both_spellings(w: Wherry, verb: str) -> None:
    short, long = w(verb, "nobody"), w("container", verb, "nobody")
    assert short.returncode == long.returncode == 1
    assert "nobody" in short.stderr and "nobody" in long.stderr


def test_times_and_state_in_inspect(w: Wherry) -> None:
    w("run", "--name", "cx", "busybox", "sh", "-c", "exit 2")
    started, finished = w.ok("inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}}", "cx").split()
    assert started < finished and started.endswith("Z")
    w.ok("create", "--name", "cy", "busybox")
    assert w.ok("inspect", "-f", "{{.State.StartedAt}}", "cy") == "0001-01-01T00:00:00Z"


def test_processes_left_in_the_container_die_with_it(w: Wherry) -> None:
    w.ok("run", "--rm", "busybox", "sh", "-c", "sleep 7654 & sleep 7654 & exit 0")
    time.sleep(0.2)
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()
    assert "sleep 7654" not in found


def test_stop_of_many(w: Wherry) -> None:
    names = [f"m{i}" for i in range(8)]
    for name in names:
        w.ok("run", "-d", "--name", name, "busybox", *IDLE)
    assert w.ok("stop", *names).split() == names
    assert w.ok("rm", *names).split() == names


def test_auto_remove_with_stop(w: Wherry) -> None:
    w.ok("run", "-d", "--rm", "--name", "cx", "busybox", *IDLE)
    w.ok("stop", "cx")
    w.until(lambda: w.ids() == [])


def test_removal_that_was_cut_short_is_finished_by_the_next_command(w: Wherry) -> None:
    """Killed between the rename into staging/ and the commit: the folder is away, the row is there."""
    ident = w.ok("create", "--name", "half", "busybox")
    (w.root / "containers" / ident).rename(w.root / "staging" / f"rm-{ident}")
    assert w.ok("ps", "-aq") == ""
    assert w.check() == ""
    w.ok("create", "--name", "half", "busybox")
