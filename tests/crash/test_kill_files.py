"""kill -9 at random instants of `commit`, `cp` and `buildah`: the store is sound, and the container as it was."""

from __future__ import annotations

import pytest

from support.chaos import Chaos

FILES = "mkdir /d; i=0; while [ $i -lt 300 ]; do echo $i > /d/$i; i=$((i+1)); done"
ALL_OF_A_COMMAND = ["command", "helper", "group"]


@pytest.mark.parametrize("victim", ALL_OF_A_COMMAND)
def test_commit(chaos: Chaos, victim: str) -> None:
    w = chaos.w
    w.ok("run", "--network", "none", "--name", "box", "busybox", "sh", "-c", FILES)
    before = w.ok("diff", "box")
    words = ("commit", "box", "made:1")
    span_s = chaos.duration(*words)
    for _ in chaos.rounds(10):
        w("rmi", "made:1")
        outcome = chaos.strike(victim, words, span_s)
        there = w("image", "exists", "made:1").returncode == 0
        assert there or not outcome.acknowledged, f"{chaos}: {outcome}"
        chaos.settle()
        if there:
            assert w.ok("run", "--rm", "--network", "none", "made:1", "sh", "-c", "ls /d | wc -l") == "300", f"{chaos}: {outcome}"
    assert w.ok("diff", "box") == before
    w("rmi", "made:1")


@pytest.mark.parametrize("victim", ALL_OF_A_COMMAND)
def test_cp_into_a_container(chaos: Chaos, victim: str) -> None:
    w = chaos.w
    source = w.folder("source")
    for number in range(300):
        (source / str(number)).write_text(str(number))
    w.ok("create", "--network", "none", "--name", "box", "busybox", "sh", "-c", "ls /in | wc -l")
    span_s = chaos.duration("cp", str(source), "box:/in")
    for _ in chaos.rounds(10):
        outcome = chaos.strike(victim, ("cp", f"{source}/.", "box:/in"), span_s)
        chaos.settle()
        assert outcome.struck or outcome.acknowledged, f"{chaos}: {outcome}"
    w("cp", f"{source}/.", "box:/in")
    assert w.ok("start", "-a", "box") == "300", str(chaos)
