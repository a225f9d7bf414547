"""Many at once: eight processes on one store for ten seconds (a minute in a soak), a hundred containers up (500 in a soak)."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.chaos import Chaos, init_of, monitors
from support.engine import Wherry
from support.place import SOAK

WORKERS = 8
SECONDS = 60 if SOAK else 10
MANY = 500 if SOAK else 100
# Somebody else may remove what we have just listed; these are the words for it.
GONE = ("No such container", "is not running", "No such image", "already in progress", "is in use by another command", "was started again")


def work(w: Wherry, number: int, seed: int, end: float) -> dict[str, int]:
    """One of the workers: own containers must obey in every detail; looking at all of them must never fail."""
    chance = random.Random(seed + number)
    counts: dict[str, int] = {}
    turn = 0

    def count(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1

    while time.monotonic() < end:
        turn += 1
        name = f"w{number}-{turn}"
        kind = chance.choice(["life", "life", "rm", "look", "image", "shared"])
        count(kind)
        if kind == "life":
            ident = w.ok("run", "-d", "--name", name, "busybox", "sleep", "1000")
            assert w.ok("exec", name, "echo", name) == name
            assert w.ok("inspect", "-f", "{{.Id}} {{.State.Status}}", name) == f"{ident} running"
            if chance.random() < 0.5:
                assert w.ok("stop", "-t", "0", name) == name
                assert w.ok("start", name) == name
            assert w.ok("rm", "-f", name) == name
            assert w("inspect", name).returncode == 1
        elif kind == "rm":
            assert w.ok("run", "--rm", "busybox", "echo", name) == name
        elif kind == "look":
            for words in (["ps", "-a"], ["images"], ["system", "df"]):
                w.ok(*words)
        elif kind == "image":
            w.ok("tag", "busybox", f"of-{name}")
            w.ok("rmi", f"of-{name}")
        else:
            contend(w, chance)
    return counts


def contend(w: Wherry, chance: random.Random) -> None:
    """All workers do these to one and the same container."""
    words = chance.choice(
        [
            ["run", "-d", "--name", "shared", "busybox", "sleep", "1000"],
            ["exec", "shared", "true"],
            ["stop", "-t", "0", "shared"],
            ["start", "shared"],
            ["restart", "-t", "0", "shared"],
            ["rm", "-f", "shared"],
            ["kill", "shared"],
        ]
    )
    done = w(*words)
    assert "Traceback" not in done.stderr, f"{words}: {done.stderr}"
    # 137: killed by another worker while it ran
    assert done.returncode in (0, 137) or any(word in done.stderr for word in (*GONE, "already in use")), f"{words}: {done}"


def test_eight_workers_on_one_store(chaos: Chaos) -> None:
    w = chaos.w
    end = time.monotonic() + SECONDS
    with ThreadPoolExecutor(WORKERS) as pool:
        results = [future.result() for future in [pool.submit(work, w, n, chaos.seed, end) for n in range(WORKERS)]]
    total = {kind: sum(r.get(kind, 0) for r in results) for kind in results[0]}
    assert sum(total.values()) >= WORKERS, f"{chaos}: {total}"
    w("rm", "-f", "shared")
    assert w.ok("ps", "-a", "--format", "{{.Names}}") == "bystander"
    chaos.settle()


def test_one_name_for_eight(chaos: Chaos) -> None:
    """Of eight that want the same name at once exactly one gets it; the others are told so."""
    w = chaos.w
    for _ in range(5):
        processes = [w.popen("create", "--name", "mine", "busybox", "true", text=True) for _ in range(WORKERS)]
        ends = [(p.communicate(timeout=60), p.returncode) for p in processes]
        assert sorted(code for _, code in ends).count(0) == 1, ends
        assert all("already in use" in err for (_, err), code in ends if code), ends
        w.ok("rm", "mine")
        chaos.settle()


def test_one_start_of_eight(chaos: Chaos) -> None:
    """Eight starts of one container start it once."""
    w = chaos.w
    ident = w.ok("create", "--name", "mine", "busybox", "sh", "-c", "echo started; sleep 1000")
    for turn in range(1, 4):
        processes = [w.popen("start", "mine", text=True) for _ in range(WORKERS)]
        ends = [(p.communicate(timeout=60), p.returncode) for p in processes]
        assert all(code == 0 for _, code in ends), ends
        assert list(monitors(w)).count(ident) == 1
        w.ok("stop", "-t", "0", "mine")
        assert w.ok("logs", "mine").split() == ["started"] * turn


def test_first_commands_on_a_new_store(w: Wherry, rootfs: Path) -> None:
    """Eight first commands at once make one store."""
    base = w.folder("fresh")
    words = [str(w.command), "--root", f"{base}/store", "--runroot", f"{base}/run"]
    for _ in range(3):
        processes = [
            subprocess.Popen([*words, "ps"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **w.options({}))
            for _ in range(WORKERS)
        ]
        ends = [(process.communicate(timeout=60), process.returncode) for process in processes]
        assert all(code == 0 and err == "" for (_, err), code in ends), ends
        assert w.host(*words, "system", "check").returncode == 0
        w.host("rm", "-rf", f"{base}/store", f"{base}/run")


def test_many_containers_at_once(chaos: Chaos) -> None:
    w = chaos.w
    names = [f"many{n}" for n in range(MANY)]
    with ThreadPoolExecutor(WORKERS) as pool:
        ids = list(pool.map(lambda name: w.ok("run", "-d", "--name", name, "busybox", "sleep", "1000"), names))
    w.seen.update(ids)
    assert len(set(ids)) == MANY
    assert len(w.ok("ps", "-q").split()) == MANY + 1
    assert all(init_of(w, ident) for ident in ids), str(chaos)
    for name in chaos.random.sample(names, 5):
        assert w.ok("exec", name, "echo", name) == name
    chaos.settle()
    start = time.monotonic()
    assert sorted(w.ok("rm", "-f", *names, timeout=120).split()) == sorted(names)
    print(f"{w.label}: {MANY} removed in {time.monotonic() - start:.2f} s", file=sys.stderr)
    chaos.settle()


@pytest.mark.skipif(not SOAK, reason="a soak: set WHERRY_SOAK")
@pytest.mark.soak
def test_nothing_grows(chaos: Chaos) -> None:
    """After a thousand containers the store's own files are as large as before."""
    w = chaos.w

    def size() -> int:
        return sum(p.stat().st_size for p in w.root.glob("wherry.db*")) + len(list(w.runroot.rglob("*")))

    for _ in range(100):
        w.ok("run", "--rm", "busybox", "true")
    before = size()
    for _ in range(1000):
        w.ok("run", "--rm", "busybox", "true")
    assert size() < before * 1.5 + 1_000_000
