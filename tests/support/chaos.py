"""Killing things at random instants, and what must hold on a store whatever was killed.

A `Chaos` belongs to one test: it has one engine, one bystander container that must notice nothing, and one random generator
whose seed stands in every message (WHERRY_SEED repeats it).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import leaks
from .engine import Wherry
from .place import SOAK, SOAK_S

SLOW_S = 60.0


class Outcome(NamedTuple):
    """What a command that was struck left: its code (−9: it was the victim), its words, and who was killed."""

    code: int
    out: str
    err: str
    struck: list[int]

    @property
    def acknowledged(self) -> bool:
        return self.code == 0


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat; 0 when there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def descendants(pid: int) -> list[int]:
    """All living processes below `pid`, nearest first."""
    found: list[int] = []
    todo = [pid]
    while todo:
        parent = todo.pop(0)
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except OSError:
            continue
        found += map(int, children)
        todo += map(int, children)
    return found


def monitors(w: Wherry) -> dict[str, int]:
    """Container id → pid of its monitor, by the run root's own list, the living ones."""
    found = {}
    for name in _names(w.runroot / "live"):
        pid, start, ident = name.split(".", 2)
        if start_time(int(pid)) == int(start):
            found[ident] = int(pid)
    return found


def init_of(w: Wherry, ident: str) -> int:
    """The pid of a container's first process; 0 while there is none."""
    try:
        text = (w.runroot / ident / "state").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "init":
            pid, start = (int(n) for n in value.split())
            return pid if pid and start_time(pid) == start else 0
    return 0


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def _kill(pids: Iterable[int]) -> list[int]:
    struck = []
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            struck.append(pid)
        except ProcessLookupError:
            continue
    return struck


class Chaos:
    def __init__(self, w: Wherry) -> None:
        self.w = w
        self.seed = int(os.environ.get("WHERRY_SEED") or random.SystemRandom().randrange(1 << 32))
        self.random = random.Random(self.seed)
        self.round = self.struck = 0
        self.start = time.monotonic()
        w.ok("run", "-d", "--name", "bystander", "busybox", "sh", "-c", "while :; do echo tick; sleep 0.05; done")
        self.bystander = w.ok("inspect", "-f", "{{.Id}}", "bystander")
        self.bystander_init = init_of(w, self.bystander)
        assert self.bystander_init, self
        w.seen.add(self.bystander)

    def __repr__(self) -> str:
        return f"{self.w.label}, WHERRY_SEED={self.seed}, round {self.round}"

    def rounds(self, few: int) -> Iterator[int]:
        """`few` rounds as root in CI and less as the others (the code is the same), WHERRY_SOAK of them in a soak (or as many as
        WHERRY_SOAK_S seconds allow)."""
        for number in range(SOAK or max(1, few // {"root": 1, "user": 4}.get(self.w.label, 8))):
            if time.monotonic() - self.start > SOAK_S:
                break
            yield number

    def duration(self, *words: str | Path, input: bytes | None = None) -> float:
        """How long the command takes when nobody disturbs it, in seconds. It must succeed."""
        start = time.monotonic()
        done = self.w(*words, text=False, **({"input": input} if input is not None else {}))
        assert done.returncode == 0, f"{self}: {words}: {done.stderr!r}"
        return time.monotonic() - start

    def strike(self, victim: str, words: Iterable[str | Path], span_s: float, *, target: str = "", input: Path | None = None) -> Outcome:
        """Run a command and kill `victim` at a random instant within `span_s` seconds.

        command: the command alone. helper: one of the processes it has started. group: it and all of those at once.
        monitor, init: of the container with the id `target`, or of the one that the command starts.
        """
        self.round += 1
        known = set(monitors(self.w))
        with open(input or os.devnull, "rb") as stdin:
            process = self.w.popen(*words, stdin=stdin)
        instant = time.monotonic() + self.random.uniform(0, span_s)
        struck: list[int] = []
        if victim in ("monitor", "init"):
            struck = self._strike_container(victim, target, known, process, self.random.uniform(0, span_s))
        else:
            while time.monotonic() < instant and process.poll() is None:
                time.sleep(0.0003)
            below = descendants(process.pid)
            if victim == "helper":
                struck = _kill([self.random.choice(below)] if below else [])
            elif process.poll() is None:
                struck = _kill([process.pid, *(below if victim == "group" else [])])
        self.note()
        try:
            out, err = process.communicate(timeout=SLOW_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{self}: {list(words)} hangs after its {victim} was killed") from None
        self.struck += bool(struck)
        outcome = Outcome(process.returncode, out.decode(), err.decode(), struck)
        assert "Traceback" not in outcome.err, f"{self}: {outcome.err}"
        return outcome

    def _strike_container(self, victim: str, target: str, known: set[str], process: subprocess.Popen[Any], wait_s: float) -> list[int]:
        """Wait for the monitor (or the init), then a random while, then kill it."""
        end = time.monotonic() + SLOW_S
        while time.monotonic() < end:
            there = monitors(self.w)
            ident = target or next((i for i in there if i not in known), "")
            pid = (there.get(ident, 0) if victim == "monitor" else init_of(self.w, ident)) if ident else 0
            if pid:
                time.sleep(wait_s if target else wait_s / 2)
                return _kill([pid])
            if process.poll() is not None:
                return []
            time.sleep(0.0002)
        raise AssertionError(f"{self}: no {victim} appeared")

    def note(self) -> None:
        """Remember the ids of all containers that have left a trace, so that later looks know them."""
        w = self.w
        for name in _names(w.root / "containers") + _names(w.runroot) + [n.rpartition("-")[2] for n in _names(w.root / "staging")]:
            if len(name) == 64:
                w.seen.add(name)

    def settle(self) -> None:
        """After the next command the store is whole, nothing is left over, and the bystander has noticed nothing."""
        w = self.w
        assert w.check() == "", f"{self}: {w.check()}"
        self._bystander_is_well()
        end = time.monotonic() + 5
        while True:
            found = self.leftovers()
            if not found:
                return
            if time.monotonic() > end:
                raise AssertionError(f"{self}: left over: {found}")
            time.sleep(0.02)

    def _bystander_is_well(self) -> None:
        assert init_of(self.w, self.bystander) == self.bystander_init, f"{self}: the bystander's process has changed"
        assert self.w.ok("exec", "bystander", "echo", "alive") == "alive", f"{self}"

    def leftovers(self) -> dict[str, list[str]]:
        """What belongs to no container that is in the database, and what runs for none that runs."""
        w = self.w
        lines = [line.split() for line in w.ok("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}").splitlines()]
        known = {ident for ident, _ in lines}
        running = {ident for ident, state in lines if state in ("running", "restarting", "paused")}
        there = monitors(w)
        spaces = {_namespace(init_of(w, ident)) for ident in running} - {""}
        allowed = {there[i] for i in running if i in there}
        if running:
            allowed |= _links(w)
        found = {
            "mounts": leaks.mounts(w),
            "processes": [text for text in leaks.processes(w) if not self._belongs(int(text.split()[0]), allowed, spaces)],
            "cgroups": [path for path in leaks.cgroups(w) if path.rpartition("/")[2] not in running],
            "staging": _names(w.root / "staging"),
            "containers": [n for n in _names(w.root / "containers") if n not in known],
            "lost": [n for n in known if n not in _names(w.root / "containers")],
            "run": [n for n in _names(w.runroot) if len(n) == 64 and n not in running],
            "live": [n for n in _names(w.runroot / "live") if n.split(".", 2)[2] not in running],
        }
        return {name: what for name, what in found.items() if what}

    @staticmethod
    def _belongs(pid: int, allowed: set[int], spaces: set[str]) -> bool:
        return pid in allowed or _namespace(pid) in spaces or not start_time(pid)


def _links(w: Wherry) -> set[int]:
    """The process that joins an ordinary user's networks to the outside, as long as any container of his is up."""
    found = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:3] == [b"wherry-native", b"link", os.fsencode(w.runroot / "net")]:
            found.add(int(entry))
    return found


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid") if pid else ""
    except OSError:
        return ""
