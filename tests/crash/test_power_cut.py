"""The power fails at a random instant while commands work on the store: what had been acknowledged before is there after it."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.engine import Wherry
from support.place import rounds
from support.powercut import CannotMount, Disk, end_processes

FIVE = rounds(5)


class Fact(NamedTuple):
    """After the command was acknowledged, the name is there or isn't."""

    kind: str  # container | image
    name: str
    there: bool
    acknowledged: float


class Worker(threading.Thread):
    """Does one command after the other and keeps a book of what it was told."""

    def __init__(self, w: Wherry, rootfs: Path, chance: random.Random) -> None:
        super().__init__()
        self.w, self.rootfs, self.chance = w, rootfs, chance
        self.facts: list[Fact] = []
        self.attempts: list[tuple[float, tuple[str, ...]]] = []  # when a command ended, and the names it was about
        self.stop = False
        self.tracebacks: list[str] = []
        self.number = 0

    def run(self) -> None:
        kept: list[str] = []
        images: list[str] = []
        while not self.stop:
            self.number += 1
            name = f"n{self.number}"
            action = self.chance.choice(["create", "create", "run", "run", "rm", "rename", "import", "tag", "rmi", "exit"])
            if action == "create" and self.do(["create", "--name", name, "busybox", "true"], (name,)):
                kept.append(self.note("container", name, True))
            elif action == "run" and self.do(["run", "-d", "--name", name, "busybox", "sleep", "1000"], (name,)):
                kept.append(self.note("container", name, True))
            elif action == "exit" and self.do(["run", "--name", name, "busybox", "sh", "-c", "echo x > /x"], (name,)):
                kept.append(self.note("container", name, True))
            elif action == "rm" and kept:
                old = kept.pop(self.chance.randrange(len(kept)))
                if self.do(["rm", "-f", old], (old,)):
                    self.note("container", old, False)
            elif action == "rename" and kept:
                old = kept.pop(self.chance.randrange(len(kept)))
                if self.do(["rename", old, name], (old, name)):
                    self.note("container", old, False)
                    kept.append(self.note("container", name, True))
            elif action == "import" and self.do(["import", str(self.rootfs), name], (name,)):
                images.append(self.note("image", name, True))
            elif action == "tag" and self.do(["tag", "busybox", name], (name,)):
                images.append(self.note("image", name, True))
            elif action == "rmi" and images:
                old = images.pop(self.chance.randrange(len(images)))
                if self.do(["rmi", old], (old,)):
                    self.note("image", old, False)

    def do(self, words: list[str], names: tuple[str, ...]) -> bool:
        done = self.w(*words)
        self.attempts.append((time.monotonic(), names))
        if "Traceback" in done.stderr:
            self.tracebacks.append(f"{words}: {done.stderr}")
        if done.returncode == 0:
            self.acknowledged = time.monotonic()
        return done.returncode == 0

    def note(self, kind: str, name: str, there: bool) -> str:
        self.facts.append(Fact(kind, name, there, self.acknowledged))
        return name


def drop_cgroups(ids: set[str]) -> None:
    """No control group lives through a power cut."""
    for ident in ids:
        for folder in Path("/sys/fs/cgroup").glob(f"*/wherry/{ident}"):
            folder.rmdir()


@pytest.fixture
def disk(w: Wherry, tmp_path: Path, reachable: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("mounting a disk needs root")
    folder = reachable / f"powercut-{os.urandom(4).hex()}"
    folder.mkdir(mode=0o755)
    try:
        found = Disk(folder, 1 << 30)
        found.mount()
    except CannotMount as reason:
        shutil.rmtree(folder)
        pytest.skip(f"no disk of our own here: {reason}")
    yield found
    end_processes(str(folder))
    found.unmount()
    shutil.rmtree(folder)


def test_power_cut(w: Wherry, disk: Disk, rootfs: Path) -> None:
    seed = int(os.environ.get("WHERRY_SEED") or random.SystemRandom().randrange(1 << 32))
    chance = random.Random(seed)
    base = disk.mountpoint.parent
    home = disk.mountpoint / "home"
    home.mkdir()
    os.chown(home, w.user.uid, w.user.gid)
    engine = Wherry(w.command, w.user, home, w.label)
    expected = {"container": set[str](), "image": {"busybox"}}
    for number in range(FIVE):
        where = f"{w.label}, WHERRY_SEED={seed}, round {number}"
        engine.runroot = base / f"run-{number}"  # what doesn't survive a reboot
        engine.runroot.mkdir(mode=0o700)
        os.chown(engine.runroot, w.user.uid, w.user.gid)
        if number == 0:
            engine.ok("import", "-c", 'CMD ["sh"]', rootfs, "busybox")
        worker = Worker(engine, rootfs, chance)
        worker.number = number * 1000
        worker.start()
        time.sleep(chance.uniform(0.3, 3.0))
        ids = set(os.listdir(engine.root / "containers"))
        instant = time.monotonic()
        disk.cut()
        worker.stop = True
        worker.join(120)
        unsure = {name for ended, names in worker.attempts if ended > instant for name in names}
        assert not worker.is_alive(), f"{where}: a command hangs on the dead disk"
        end_processes(str(base))
        disk.unmount()
        assert not worker.tracebacks, f"{where}: {worker.tracebacks}"
        for fact in worker.facts:
            if fact.acknowledged > instant:
                unsure.add(fact.name)
            elif fact.there:
                expected[fact.kind].add(fact.name)
            else:
                expected[fact.kind].discard(fact.name)
        disk.mount()
        drop_cgroups(ids | set(os.listdir(engine.root / "containers")))
        engine.runroot = base / f"run-{number}-after"
        engine.runroot.mkdir(mode=0o700)
        os.chown(engine.runroot, w.user.uid, w.user.gid)
        engine.ids()
        assert engine.check() == "", f"{where}: {engine.check()}"
        found = {
            "container": set(engine.ok("ps", "-a", "--format", "{{.Names}}").split()),
            "image": set(engine.ok("images", "--format", "{{.Repository}}").split()),
        }
        for kind, names in found.items():
            lost, risen = expected[kind] - names - unsure, names - expected[kind] - unsure
            assert not lost, f"{where}: acknowledged and lost: {kind} {sorted(lost)}"
            assert not risen, f"{where}: removed and back: {kind} {sorted(risen)}"
            expected[kind] = names
        for name in chance.sample(sorted(found["image"]), min(2, len(found["image"]))):
            assert engine.ok("run", "--rm", name, "sh", "-c", "busybox md5sum /bin/busybox | wc -c") == "47", f"{where}: {name}"
        for name in chance.sample(sorted(found["container"]), min(2, len(found["container"]))):
            engine.ok("start", name)
        engine.forget_all()
        expected["container"] = set()
        end_processes(str(base))
