"""Volumes as a whole: tar streams out and in, snapshots, clones, what hostile streams and containers try, and kill -9 in between."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from support.engine import Wherry
from support.place import SOAK

SCRIPT = (
    "cd /d && echo one > a && ln a b && ln -s a l && mkdir -p x/y && dd if=/dev/zero of=hole bs=1 count=1 seek=5000000 2>/dev/null"
    " && mkfifo p && chmod 640 a && echo end >> hole && touch -d '2001-02-03 04:05:06' a"
)
LOOK = "cd /d && find . | sort | while read f; do stat -c '%n %F %a %u %g %h %s' \"$f\"; done; stat -c %Y a; sha256sum a hole; readlink l"


def shell(w: Wherry, *words: str | Path, script: str) -> str:
    return w.ok("run", "--rm", *words, "busybox", "sh", "-c", script)


def filled(w: Wherry, name: str) -> str:
    shell(w, "-v", f"{name}:/d", script=SCRIPT)
    return shell(w, "-v", f"{name}:/d", script=LOOK)


def test_export_and_import(w: Wherry) -> None:
    before = filled(w, "one")
    path = w.folder("tar") / "one.tar"
    w.ok("volume", "export", "one", "-o", path)
    assert path.stat().st_size < 100_000, "holes stay holes"
    with tarfile.open(path) as tar:
        assert {"a", "b", "x/y", "hole"} <= {m.name.strip("/") for m in tar.getmembers()}
    w.ok("volume", "create", "two")
    w.ok("volume", "import", "two", path)
    assert shell(w, "-v", "two:/d", script=LOOK) == before
    used = int(w.ok("volume", "du", "-b", "two").splitlines()[1].split()[1])
    assert used < 100_000
    w.ok("volume", "create", "three")
    with w.popen("volume", "export", "one") as source:
        w.ok("volume", "import", "three", "-", stdin=source.stdout)
    assert shell(w, "-v", "three:/d", script=LOOK) == before
    assert w("volume", "import", "nope", path).returncode == 1
    assert w("volume", "import", "three", "/nowhere.tar").returncode == 1 and w.check() == ""


def test_a_broken_import_changes_nothing(w: Wherry) -> None:
    before = filled(w, "keep")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, size in (("a", 100), ("big", 1 << 20)):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(b"n" * size))
    path = w.file("cut.tar", data.getvalue()[: 1 << 19])
    assert w("volume", "import", "keep", path).returncode == 1
    assert shell(w, "-v", "keep:/d", script=LOOK) == before and w.check() == ""


@pytest.mark.parametrize("kind", ["climb", "absolute", "through-link"])
def test_hostile_imports_stay_inside(w_user: Wherry, kind: str) -> None:
    w = w_user
    canary = w.file("canary", "untouched")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        if kind == "through-link":
            link = tarfile.TarInfo("out")
            link.type, link.linkname = tarfile.SYMTYPE, str(canary.parent)
            tar.addfile(link)
        name = {"climb": "../../../../" + str(canary).lstrip("/"), "absolute": str(canary), "through-link": "out/canary"}[kind]
        info = tarfile.TarInfo(name)
        info.size = 4
        tar.addfile(info, io.BytesIO(b"evil"))
    w.ok("volume", "create", "victim")
    w("volume", "import", "victim", w.file("evil.tar", data.getvalue()))
    assert canary.read_text() == "untouched" and w.check() == ""


def test_snapshot_clone_restore(w: Wherry) -> None:
    before = filled(w, "live")
    assert w.ok("volume", "snapshot", "live", "first") == "first"
    assert w.ok("volume", "clone", "live", "twin") == "twin"
    shell(w, "-v", "live:/d", script="rm -r /d/x /d/a; echo changed > /d/new")
    assert shell(w, "-v", "twin:/d", script=LOOK) == before
    assert w.ok("volume", "snapshot", "live").splitlines()[1].split()[0] == "first"
    assert w.ok("volume", "inspect", "-f", "{{.Wherry.Snapshots}}", "live") == "[first]"
    w.ok("run", "-d", "--name", "busy", "-v", "live:/d", "busybox", "sleep", "100")
    done = w("volume", "restore", "live", "first")
    assert done.returncode == 1 and "volume is in use" in done.stderr
    w.ok("rm", "-f", "busy")
    w.ok("volume", "restore", "live", "first")
    assert shell(w, "-v", "live:/d", script=LOOK) == before
    for words in (("snapshot", "live", "first"), ("clone", "live", "twin"), ("restore", "live", "nope"), ("snapshot", "none", "x1")):
        assert w("volume", *words).returncode == 1, words
    w.ok("volume", "snapshot", "--rm", "live", "first")
    w.ok("volume", "snapshot", "live", "again")
    w.ok("volume", "rm", "live", "twin")
    assert list((w.root / "snapshots").iterdir()) == [] and w.check() == ""


def test_snapshot_of_a_volume_that_is_written(w_root: Wherry) -> None:
    """Both files always hold the same number, written one after the other: a snapshot never sees two numbers more than one apart."""
    w = w_root
    script = "i=0; while :; do i=$((i+1)); echo $i > /d/one; echo $i > /d/two; done"
    w.ok("run", "-d", "--name", "writer", "-v", "busy:/d", "busybox", "sh", "-c", script)
    w.until(lambda: (w.root / "volumes/busy/_data/two").exists())
    done = w("volume", "snapshot", "busy", "s1")
    assert done.returncode == 0
    if "goes on writing" in done.stderr:
        pytest.skip("no freezer here")
    assert w.state("writer") == "running"
    w.ok("rm", "-f", "writer")
    folder = next((w.root / "snapshots").iterdir()) / "_data"
    one, two = ((folder / n).read_text().strip() or "0" for n in ("one", "two"))
    assert abs(int(one or 0) - int(two or 0)) <= 1 or "0" in (one, two)


def test_a_container_that_swaps_links_leads_nobody_out(w_root: Wherry) -> None:
    """While a container exchanges a folder and a link to the host's, subpaths, exports and clones see the volume and nothing else."""
    w = w_root
    canary = w.folder("outside")
    (canary / "secret").write_text("of the host")
    script = (
        f"mkdir -p /d/real && echo inside > /d/real/secret && ln -s {canary} /d/evil && "
        "while :; do mv -T /d/real /d/x 2>/dev/null; mv -T /d/evil /d/real; mv -T /d/real /d/evil; mv -T /d/x /d/real; done"
    )
    w.ok("run", "-d", "--name", "swapper", "-v", "race:/d", "busybox", "sh", "-c", script)
    w.until(lambda: os.path.lexists(w.root / "volumes/race/_data/evil") or os.path.lexists(w.root / "volumes/race/_data/real"))
    end = time.monotonic() + (10 if SOAK else 2)
    rounds = 0
    while time.monotonic() < end:
        rounds += 1
        out = w("run", "--rm", "--mount", "src=race,dst=/m,volume-subpath=real", "busybox", "cat", "/m/secret")
        assert "of the host" not in out.stdout
        exported = subprocess.run(w.words("volume", "export", "race"), capture_output=True, **w.options({})).stdout
        assert b"of the host" not in exported
    w.ok("rm", "-f", "swapper")
    assert rounds and (canary / "secret").read_text() == "of the host"


def test_kill_at_any_instant(w_root: Wherry) -> None:
    """create, copy-up, rm, import, snapshot and restore, killed: the store is sound, acknowledged data are there."""
    w = w_root
    shell(w, "-v", "steady:/d", script="for i in 1 2 3 4 5 6 7 8 9; do echo $i > /d/$i; done")
    w.ok("volume", "snapshot", "steady", "base")
    archive = w.folder("kill") / "v.tar"
    w.ok("volume", "export", "steady", "-o", archive)
    expected = sorted(hashlib.sha256(p.read_bytes()).hexdigest() for p in (w.root / "volumes/steady/_data").iterdir())
    seed = int(os.environ.get("WHERRY_SEED") or time.time_ns() % 100000)
    rng = random.Random(seed)
    works: list[list[str]] = [
        ["volume", "create", "v{}"],
        ["run", "--rm", "-v", "u{}:/etc", "-v", "/bin", "busybox", "true"],
        ["volume", "import", "steady", str(archive)],
        ["volume", "snapshot", "steady", "s{}"],
        ["volume", "restore", "steady", "base"],
        ["volume", "clone", "steady", "c{}"],
        ["volume", "rm", "c{}"],
    ]
    for number in range(200 if SOAK else 10):
        words = [word.format(number if "rm" not in words else number - 1) for words in [works[number % len(works)]] for word in words]
        process = w.popen(*words)
        time.sleep(rng.random() * 0.15)
        process.kill()
        process.communicate()
        message = f"seed {seed}, round {number}: {words}"
        assert w.check() == "", message
        found = sorted(hashlib.sha256(p.read_bytes()).hexdigest() for p in (w.root / "volumes/steady/_data").iterdir())
        assert found == expected, message
        for volume in w.ok("volume", "ls", "-q").split():
            if volume.startswith("c"):
                assert len(list((w.root / "volumes" / volume / "_data").iterdir())) == 9, message
            if volume.startswith("u") and (w.root / "volumes" / volume).exists():
                assert len(list((w.root / "volumes" / volume / "_data").iterdir())) in (0, 3, 4, 5, 6), message
