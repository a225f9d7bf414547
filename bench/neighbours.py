"""What a container's neighbours and its limits cost: rows of the table in rows.py.

A neighbour is a container that repeats what it is told (`cat`); a round trip goes through the engine's own pipes and back.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from peers import Peer

NONE = ("--network", "none")
LIMITS = ("-m", "256m", "--memory-reservation", "64m", "--cpus", "1.5", "-c", "512", "--pids-limit", "100", "--cpuset-cpus", "0-1")
TRIPS = 400
LOG_BYTES = 50_000_000

# (its own limits, the script); none at all, a fork bomb, a memory hog, a processor hog, a log flood
ROWDY: dict[str, tuple[tuple[str, ...], str]] = {
    "alone": ((), ""),
    "fork-bomb": (("--pids-limit", "200"), "f() { f | f & }; f; while :; do sleep 1; done"),
    "memory-hog": (("-m", "64m"), "while :; do sh -c 'x=aaaaaaaa; while :; do x=$x$x; done'; done 2>/dev/null"),
    "cpu-hog": ((), "for i in 1 2 3 4; do while :; do :; done & done; wait"),
    "log-flood": ((), "yes 'a line of a flood of lines'"),
}


def limited(peer: Peer) -> float:
    return peer.time("run", "--rm", *NONE, *LIMITS, "bench", "true")


def log_rate(peer: Peer) -> float:
    """Milliseconds for 50 MB of lines, from the start of the container to its end, into a file that is rotated at 10 MB."""
    options = ("--log-driver", "json-file", "--log-opt", "max-size=10m")
    peer.run(
        "run",
        "-d",
        *NONE,
        *options,
        "--name",
        "talks",
        "bench",
        "sh",
        "-c",
        f"yes 'a line of fifty bytes, as programs write it.' | head -c {LOG_BYTES}",
    )
    ms = peer.time("wait", "talks")
    peer.run("rm", "-f", "talks")
    return ms


def stats(peer: Peer) -> float:
    return peer.time("stats", "--no-stream")


def running(count: int) -> Callable[[Peer], None]:
    def prepare(peer: Peer) -> None:
        idle = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done")
        peer.time_many([["run", "-d", *NONE, "--name", f"n{i}", "bench", *idle] for i in range(count)], 2)

    return prepare


def latency(kind: str) -> Callable[[Peer], float]:
    """The 99th hundredth of a neighbour's round trips beside that, in milliseconds."""

    def measure(peer: Peer) -> float:
        limits, script = ROWDY[kind]
        words = [*peer.prefix(), "run", "--rm", "-i", *NONE, "--name", "neighbour", "bench", "cat"]
        options = {"user": peer.user.uid, "group": peer.user.gid, "extra_groups": []} if peer.user.uid else {}
        process = subprocess.Popen(words, env=peer.env, cwd=peer.base, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]
        try:
            _trips(process, 5)
            if script:
                peer.run("run", "-d", *NONE, *limits, "--name", "rowdy", "bench", "sh", "-c", script)
                time.sleep(1)
            return _trips(process, TRIPS)
        finally:
            process.stdin.close()
            process.wait(60)
            process.stdout.close()
            if script:
                peer.run("rm", "-f", "rowdy", check=False)

    return measure


def _trips(process: subprocess.Popen[bytes], count: int) -> float:
    assert process.stdin and process.stdout
    found = []
    for number in range(count):
        start = time.perf_counter()
        process.stdin.write(b"%d\n" % number)
        process.stdout.readline()
        found.append((time.perf_counter() - start) * 1000)
        time.sleep(0.002)
    return sorted(found)[int(count * 0.99) - 1]
