"""What is measured. A row is a function that measures a peer once and returns a number; what it needs is prepared outside the clock.

The order of columns and the rounds are run.py's matter: it asks every peer once, then every peer again, so that a slow minute of the
machine falls on all of them alike.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import neighbours
from peers import Peer

NONE = ("--network", "none")
# ends at TERM, as a service does: one that ignores it makes podman's `rm -f` wait for ten seconds
IDLE = ("sh", "-c", "trap 'exit 0' TERM; echo hello; while :; do sleep 1000 & wait; done")
_number = itertools.count()


class Row(NamedTuple):
    name: str
    measure: Callable[[Peer], float]
    prepare: Callable[[Peer], None] = lambda peer: None
    finish: Callable[[Peer], None] = lambda peer: peer.remove_all()
    rounds: int = 0  # 0: as many as run.py is told
    unit: str = "ms"


def name() -> str:
    return f"c{next(_number)}"


def start(peer: Peer, container: str | None = None) -> str:
    container = container or name()
    peer.run("run", "-d", *NONE, "--name", container, "bench", *IDLE)
    return container


def run_rm(peer: Peer) -> float:
    return peer.time("run", "--rm", *NONE, "bench", "true")


def run_host(peer: Peer) -> float:
    return peer.time("run", "--rm", "--network", "host", "bench", "true")


def execute(peer: Peer) -> float:
    return peer.time("exec", "idle", "true")


def run_detached(peer: Peer) -> float:
    container = name()
    ms = peer.time("run", "-d", *NONE, "--name", container, "bench", *IDLE)
    peer.run("rm", "-f", container)
    return ms


def create(peer: Peer) -> float:
    container = name()
    ms = peer.time("create", *NONE, "--name", container, "bench", *IDLE)
    peer.run("rm", "-f", container)
    return ms


def started(peer: Peer) -> float:
    container = name()
    peer.run("create", *NONE, "--name", container, "bench", *IDLE)
    ms = peer.time("start", container)
    peer.run("rm", "-f", container)
    return ms


def ending(*words: str) -> Callable[[Peer], float]:
    def measure(peer: Peer) -> float:
        container = start(peer)
        ms = peer.time(*words, container)
        peer.run("rm", "-f", container, check=False)
        return ms

    return measure


def listing(*words: str) -> Callable[[Peer], float]:
    return lambda peer: peer.time(*words)


def one_idle(peer: Peer) -> None:
    peer.run("run", "-d", *NONE, "--name", "idle", "bench", *IDLE)


def five_hundred(peer: Peer) -> None:
    peer.time_many([["create", *NONE, "--name", f"n{i}", "bench", "sh", "-c", "echo hello"] for i in range(499)], 2)
    one_idle(peer)


def parallel(peer: Peer) -> float:
    ms = peer.time_many([["run", "-d", *NONE, "--name", f"p{i}", "bench", *IDLE] for i in range(50)], 8)
    peer.run("rm", "-f", *(f"p{i}" for i in range(50)))
    return ms


def remove_fifty(peer: Peer) -> float:
    peer.time_many([["run", "-d", *NONE, "--name", f"p{i}", "bench", *IDLE] for i in range(50)], 2)
    return peer.time("rm", "-f", *(f"p{i}" for i in range(50)))


def idle_memory(peer: Peer) -> float:
    """Private kB for each of 20 idle containers, of the processes that the engine keeps beside them."""
    for i in range(20):
        start(peer, f"m{i}")
    time.sleep(3)  # idle is what a container is after its start has settled
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if peer.monitor not in words or not (peer.file(peer.base) in words or peer.user.uid == os.stat(f"/proc/{pid}").st_uid != 0):
                continue
            total += sum(
                int(n) for n in re.findall(r"^Private_\w+:\s+(\d+) kB", Path("/proc", pid, "smaps_rollup").read_text(), re.MULTILINE)
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
    peer.run("rm", "-f", *(f"m{i}" for i in range(20)))
    return total / 20


def many_files(peer: Peer) -> float:
    return peer.time("run", "--rm", *NONE, "bench-many", "ls", "-R", "/data")


def ids_view(peer: Peer) -> float:
    return peer.time("run", "--rm", *NONE, "bench-many", "true")


ROWS = {
    "run": Row("run --rm --network none IMAGE true", run_rm),
    "run-host": Row("run --rm --network host IMAGE true", run_host),
    "exec": Row("exec C true", execute, one_idle),
    "run-d": Row("run -d", run_detached),
    "create": Row("create", create),
    "start": Row("start", started),
    "stop": Row("stop -t0", ending("stop", "-t", "0")),
    "kill": Row("kill", ending("kill")),
    "rm": Row("rm -f of a running one", ending("rm", "-f")),
    "ps": Row("ps, 1 container", listing("ps"), one_idle),
    "inspect": Row("inspect, 1 container", listing("inspect", "idle"), one_idle),
    "images": Row("images", listing("images"), one_idle),
    "logs": Row("logs, 1 container", listing("logs", "idle"), one_idle),
    "ps-500": Row("ps -a, 500 containers", listing("ps", "-a"), five_hundred),
    "inspect-500": Row("inspect, 500 containers", listing("inspect", "idle"), five_hundred),
    "parallel": Row("50 × run -d by 8 workers", parallel, rounds=3),
    "rm-50": Row("rm -f of 50 running ones in one command", remove_fifty, rounds=3),
    "memory": Row("an idle container: private memory of ours", idle_memory, rounds=1, unit="kB"),
    "run-limits": Row("run --rm with every limit", neighbours.limited),
    "log": Row("50 MB of lines into json-file", neighbours.log_rate, rounds=3),
    "stats-50": Row("stats --no-stream, 50 running ones", neighbours.stats, neighbours.running(50), rounds=3),
    **{
        f"neighbour-{kind}": Row(f"a neighbour's p99 round trip, {kind.replace('-', ' ')}", neighbours.latency(kind), rounds=3)
        for kind in neighbours.ROWDY
    },
    "many-run": Row("60 layers, 100,000 files: run true", ids_view),
    "many-ls": Row("60 layers, 100,000 files: run ls -R", many_files, rounds=5),
}
