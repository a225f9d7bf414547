"""kill -9 at random instants: ten a case here, WHERRY_SOAK of them in a soak."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.chaos import Chaos

SLEEPER = ("sleep", "1000")
ALL_OF_A_COMMAND = ["command", "helper", "group"]


def exists(chaos: Chaos, name: str) -> bool:
    return name in chaos.w.ok("ps", "-a", "--format", "{{.Names}}").split()


def remove(chaos: Chaos, name: str) -> None:
    """It can always be removed; that it was gone already is no failure."""
    done = chaos.w("rm", "-f", name)
    assert done.returncode == 0 or "No such container" in done.stderr, f"{chaos}: {done.stderr}"
    assert not exists(chaos, name), str(chaos)


def is_usable(chaos: Chaos, name: str) -> None:
    """A container that somebody's death has left can be started (if it doesn't run) and does what it is asked."""
    w = chaos.w
    w.ok("start", name)
    assert w.state(name) == "running", str(chaos)
    assert w.ok("exec", name, "echo", "here") == "here", str(chaos)


@pytest.mark.parametrize("victim", ["command", "helper", "group", "monitor", "init"])
def test_run_attached(chaos: Chaos, victim: str) -> None:
    words = ("run", "--rm", "--name", "box", "busybox", "sh", "-c", "echo begin; sleep 0.1; echo end; exit 4")
    chaos.w("run", "--rm", "busybox", "true")
    for _ in chaos.rounds(10):
        outcome = chaos.strike(victim, words, 0.25)
        if not outcome.struck:
            assert (outcome.code, outcome.out) == (4, "begin\nend\n"), f"{chaos}: {outcome}"
        elif victim in ("monitor", "init"):
            # struck after the container's end it may still be a success
            assert outcome.code in (4, 125, 137), f"{chaos}: {outcome}"
        chaos.w.until(lambda: not exists(chaos, "box"))
        chaos.settle()


@pytest.mark.parametrize("victim", ["command", "helper", "group", "monitor", "init"])
def test_run_detached(chaos: Chaos, victim: str) -> None:
    words = ("run", "-d", "--name", "box", "busybox", *SLEEPER)
    span_s = chaos.duration(*words)
    remove(chaos, "box")
    for _ in chaos.rounds(10):
        outcome = chaos.strike(victim, words, span_s)
        if outcome.acknowledged:
            state = chaos.w.ok("inspect", "-f", "{{.Id}} {{.State.Status}}", "box").split()
            assert state[0] == outcome.out.strip(), f"{chaos}: {outcome}"
            if victim in ("monitor", "init") and outcome.struck:
                chaos.w.until_state("box", "exited")  # the kernel may still be at it
            else:
                assert state[1] == "running", f"{chaos}: {outcome} {state}"
        chaos.settle()
        if exists(chaos, "box"):
            is_usable(chaos, "box")
        remove(chaos, "box")
        chaos.settle()


@pytest.mark.parametrize("victim", ALL_OF_A_COMMAND)
def test_create(chaos: Chaos, victim: str) -> None:
    words = ("create", "--name", "box", "busybox", *SLEEPER)
    span_s = chaos.duration(*words)
    remove(chaos, "box")
    for _ in chaos.rounds(10):
        outcome = chaos.strike(victim, words, span_s)
        there = exists(chaos, "box")
        assert there or not outcome.acknowledged, f"{chaos}: {outcome}"
        chaos.settle()
        if there:
            is_usable(chaos, "box")
            remove(chaos, "box")


@pytest.mark.parametrize("victim", ["command", "helper", "group", "monitor", "init"])
def test_start(chaos: Chaos, victim: str) -> None:
    chaos.w.ok("create", "--name", "box", "busybox", *SLEEPER)
    span_s = chaos.duration("start", "box")
    for _ in chaos.rounds(10):
        chaos.w.ok("stop", "-t", "0", "box")
        outcome = chaos.strike(victim, ("start", "box"), span_s)
        assert exists(chaos, "box"), f"{chaos}: {outcome}"
        chaos.settle()
        is_usable(chaos, "box")


@pytest.mark.parametrize("victim", ["command", "helper", "group", "monitor", "init"])
def test_exec(chaos: Chaos, victim: str) -> None:
    w = chaos.w
    ident = w.ok("run", "-d", "--name", "box", "busybox", *SLEEPER)
    words = ("exec", "box", "sh", "-c", "echo begin; sleep 0.05; echo end; exit 4")
    w(*words)
    for _ in chaos.rounds(10):
        outcome = chaos.strike(victim, words, 0.2, target=ident)
        if victim in ("monitor", "init"):
            w.until_state("box", "exited")  # the kernel may still be at it
            assert outcome.code in (1, 4, 125, 126, 137), f"{chaos}: {outcome}"
            chaos.settle()
            w.ok("start", "box")
        else:
            assert w.state("box") == "running", f"{chaos}: {outcome}"
        # what exec has started ends by itself after 50 ms; nothing stays of it in the container or outside
        w.until(lambda: w.ok("exec", "box", "sh", "-c", "pgrep -f begin | grep -v $$ || true") == "")
        chaos.settle()


@pytest.mark.parametrize("victim", ["command", "helper", "group", "monitor", "init"])
def test_stop(chaos: Chaos, victim: str) -> None:
    w = chaos.w
    script = "trap 'sleep 0.05; exit 0' TERM; while :; do sleep 0.01; done"
    ident = w.ok("run", "-d", "--name", "box", "busybox", "sh", "-c", script)
    span_s = chaos.duration("stop", "-t", "5", "box")
    for _ in chaos.rounds(10):
        w.ok("start", "box")
        outcome = chaos.strike(victim, ("stop", "-t", "5", "box"), span_s, target=ident)
        if outcome.acknowledged:
            assert w.state("box") == "exited", f"{chaos}: {outcome}"
        chaos.settle()
        w.ok("stop", "-t", "1", "box")
        assert w.state("box") == "exited", str(chaos)


@pytest.mark.parametrize("victim", ["command", "helper", "group", "monitor", "init"])
def test_remove(chaos: Chaos, victim: str) -> None:
    w = chaos.w
    script = "mkdir /d; for i in $(seq 200); do echo $i > /d/$i; done; sleep 1000"
    words = ("run", "-d", "--name", "box", "busybox", "sh", "-c", script)
    w.ok(*words)
    span_s = chaos.duration("rm", "-f", "box")
    for _ in chaos.rounds(10):
        ident = w.ok(*words)
        w.until(lambda: w("exec", "box", "test", "-e", "/d/200").returncode == 0)
        outcome = chaos.strike(victim, ("rm", "-f", "box"), span_s, target=ident)
        there = exists(chaos, "box")
        assert not (there and outcome.acknowledged), f"{chaos}: {outcome}"
        chaos.settle()
        if there:
            remove(chaos, "box")
            chaos.settle()


@pytest.mark.parametrize("victim", ["command", "monitor"])
def test_restart_policy(chaos: Chaos, victim: str) -> None:
    """A container that comes back by itself does so without its command, and not without its monitor."""
    words = ("run", "-d", "--restart", "always", "--name", "box", "busybox", "sh", "-c", "sleep 0.02")
    span_s = chaos.duration(*words)
    remove(chaos, "box")
    for _ in chaos.rounds(10):
        chaos.strike(victim, words, span_s * 2)
        chaos.settle()
        remove(chaos, "box")
        chaos.settle()


@pytest.mark.parametrize("victim", ALL_OF_A_COMMAND)
def test_import(chaos: Chaos, victim: str, rootfs: Path) -> None:
    w = chaos.w
    span_s = chaos.duration("import", rootfs, "new")
    w.ok("rmi", "new")
    for _ in chaos.rounds(10):
        outcome = chaos.strike(victim, ("import", rootfs, "new"), span_s)
        there = w("image", "exists", "new").returncode == 0
        assert there or not outcome.acknowledged, f"{chaos}: {outcome}"
        chaos.settle()
        if there:
            assert w.ok("run", "--rm", "new", "echo", "whole") == "whole", f"{chaos}: {outcome}"
            w.ok("rmi", "new")
            chaos.settle()


@pytest.mark.parametrize("victim", ALL_OF_A_COMMAND)
def test_load(chaos: Chaos, victim: str, archive: Path) -> None:
    w = chaos.w
    name = "made-for-the-crash:1"
    span_s = chaos.duration("load", "-i", archive)
    w.ok("rmi", name)
    for _ in chaos.rounds(10):
        outcome = chaos.strike(victim, ("load",), span_s, input=archive)
        there = w("image", "exists", name).returncode == 0
        assert there or not outcome.acknowledged, f"{chaos}: {outcome}"
        chaos.settle()
        if there:
            assert w.ok("run", "--rm", name, "cat", "/made/9") == "9", f"{chaos}: {outcome}"
            w.ok("rmi", name)
            chaos.settle()


@pytest.mark.parametrize("victim", ALL_OF_A_COMMAND)
def test_remove_image(chaos: Chaos, victim: str, archive: Path) -> None:
    w = chaos.w
    name = "made-for-the-crash:1"
    w.ok("load", "-i", archive)
    span_s = chaos.duration("rmi", name)
    for _ in chaos.rounds(10):
        w.ok("load", "-i", archive)
        outcome = chaos.strike(victim, ("rmi", name), span_s)
        there = w("image", "exists", name).returncode == 0
        assert not (there and outcome.acknowledged), f"{chaos}: {outcome}"
        if there:
            assert w.ok("run", "--rm", name, "cat", "/made/9") == "9", f"{chaos}: {outcome}"
        chaos.settle()


def test_commit_of_a_transaction(chaos: Chaos) -> None:
    """Commands that do little else than one transaction: what was acknowledged is there, what wasn't is whole or absent."""
    w = chaos.w
    w.ok("create", "--name", "n0", "busybox", "true")
    number = 0
    span_s = chaos.duration("tag", "busybox", "t0")
    for turn in chaos.rounds(10):
        outcome = chaos.strike("command", ("rename", f"n{number}", f"n{number + 1}"), span_s)
        names = [f"n{number}", f"n{number + 1}"]
        there = [name for name in names if exists(chaos, name)]
        assert len(there) == 1, f"{chaos}: {outcome}: {there}"
        assert there == names[1:] or not outcome.acknowledged, f"{chaos}: {outcome}"
        number = int(there[0][1:])
        outcome = chaos.strike("command", ("tag", "busybox", f"t{turn}"), span_s)
        if w("image", "exists", f"t{turn}").returncode == 0:
            w.ok("rmi", f"t{turn}")
        else:
            assert not outcome.acknowledged, f"{chaos}: {outcome}"
        chaos.settle()


@pytest.mark.parametrize("victim", ["monitor", "init"])
def test_idle_container(chaos: Chaos, victim: str) -> None:
    """No command is running at all when it happens; the next one finds out."""
    w = chaos.w
    for _ in chaos.rounds(3):
        ident = w.ok("run", "-d", "--name", "box", "busybox", "sh", "-c", "sleep 1000 & sleep 1000 & wait")
        outcome = chaos.strike(victim, ("version",), 0.1, target=ident)
        assert outcome.struck, str(chaos)
        w.until(lambda: w.state("box") == "exited")
        assert w.ok("inspect", "-f", "{{.State.ExitCode}}", "box") == "137", str(chaos)
        assert w.ok("wait", "box") == "137", str(chaos)
        chaos.settle()
        is_usable(chaos, "box")
        remove(chaos, "box")
        chaos.settle()
