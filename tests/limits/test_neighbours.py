"""One container does not take the others along: a neighbour answers while another one misbehaves. `make bench` has the exact figures."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.engine import Wherry

# Answers of a neighbour on a machine that runs tests in parallel: no more than this in the worst of a hundred.
BOUND_S = 0.5


class Neighbour:
    """A container that repeats what it is told; how long it takes is its latency."""

    def __init__(self, w: Wherry) -> None:
        self._process: subprocess.Popen[Any] = w.popen("run", "--rm", "-i", "--name", "neighbour", "busybox", "cat", bufsize=0)
        self.answers(3)

    def answers(self, count: int) -> list[float]:
        """Seconds of each of `count` round trips, in order of length."""
        assert self._process.stdin is not None and self._process.stdout is not None
        found = []
        for number in range(count):
            start = time.monotonic()
            self._process.stdin.write(b"%d\n" % number)
            assert self._process.stdout.readline() == b"%d\n" % number
            found.append(time.monotonic() - start)
            time.sleep(0.002)
        return sorted(found)

    def leave(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(20) == 0, "the neighbour was harmed"
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def neighbour(w_root: Wherry) -> Iterator[Neighbour]:
    found = Neighbour(w_root)
    yield found
    found.leave()


def calm(w: Wherry, neighbour: Neighbour, misbehaves: Callable[[], bool], words: list[str]) -> None:
    w.ok("run", "-d", "--name", "rowdy", *words)
    w.until(misbehaves, 20)
    worst = neighbour.answers(100)[98]
    start = time.monotonic()
    assert "rowdy" in w.ok("ps", "--format", "{{.Names}}")
    assert time.monotonic() - start < 10, "the host answers no more"
    assert worst < BOUND_S, f"the neighbour waited {worst * 1000:.0f} ms"
    w.ok("rm", "-f", "rowdy")


def pids(w: Wherry) -> int:
    return int(w.ok("stats", "--no-stream", "--format", "{{.PIDs}}", "rowdy"))


def test_a_fork_bomb(w_root: Wherry, neighbour: Neighbour) -> None:
    # Its first 140 stay; what comes after them fights for the last few places for ever.
    bomb = "i=0; while [ $i -lt 140 ]; do sleep 1000 & i=$((i+1)); done; f() { f | f & }; f & exec sleep 1000"
    calm(w_root, neighbour, lambda: pids(w_root) > 100, ["--pids-limit", "150", "busybox", "sh", "-c", bomb])


def test_a_memory_hog(w_root: Wherry, neighbour: Neighbour) -> None:
    hog = "while :; do sh -c 'x=aaaaaaaa; while :; do x=$x$x; done'; done 2>/dev/null"
    killed = lambda: int(w_root.ok("stats", "--no-stream", "--format", "{{.OOMKills}}", "rowdy")) > 0  # noqa: E731
    calm(w_root, neighbour, killed, ["-m", "32m", "--memory-swap", "32m", "busybox", "sh", "-c", hog])


def test_a_processor_hog(w_root: Wherry, neighbour: Neighbour) -> None:
    hog = "for i in 1 2 3 4; do while :; do :; done & done; wait"
    calm(w_root, neighbour, lambda: pids(w_root) == 5, ["busybox", "sh", "-c", hog])


def test_a_log_flood(w_root: Wherry, neighbour: Neighbour) -> None:
    w = w_root
    folder = w.root / "containers"
    flooded = lambda: any(folder.glob("*/log.json.1"))  # noqa: E731
    calm(w, neighbour, flooded, ["--log-opt", "max-size=1m", "--log-opt", "max-file=2", "busybox", "sh", "-c", "yes 'a line of a flood'"])


def test_a_fork_bomb_of_a_user_without_control_groups(w_user: Wherry) -> None:
    w = w_user
    # Its first 140 stay; what comes after them fights for the last few places for ever.
    bomb = "i=0; while [ $i -lt 140 ]; do sleep 1000 & i=$((i+1)); done; f() { f | f & }; f & exec sleep 1000"
    w.ok("run", "-d", "--name", "rowdy", "--pids-limit", "150", "busybox", "sh", "-c", bomb)
    w.ok("run", "--rm", "busybox", "true")
    assert pids(w) <= 151
    w.ok("rm", "-f", "rowdy")
