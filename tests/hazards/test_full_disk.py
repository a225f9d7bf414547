"""A full disk, on a small tmpfs and a small ext4: an error that says so, nothing lost, and all works again when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import Wherry, kill

MEGABYTES = 40


@pytest.fixture(params=["tmpfs", "ext4"])
def small(request: pytest.FixtureRequest, w_root: Wherry, tmp_path: Path) -> Iterator[Wherry]:
    """An engine of root's whose store has a file system of its own, with an image and a running container."""
    base = tmp_path / "small"
    base.mkdir()
    if request.param == "tmpfs":
        words = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=755", "wherry-test", str(base)]
    else:
        if not shutil.which("mkfs.ext4"):
            pytest.skip("no mkfs.ext4 here")
        image = tmp_path / "disk"
        # Blocks as large as a page, as on every disk that isn't tiny: SQLite's shared index is not safe on a full disk with smaller ones.
        with image.open("wb") as file:
            file.truncate(MEGABYTES << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-b", "4096", str(image)], check=True)
        words = ["mount", "-o", "loop", str(image), str(base)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small {request.param} can't be mounted here: {done.stderr.strip()}")
    w = Wherry(w_root.command, w_root.user, base, "root")
    w.runroot = w_root.base / f"run-{request.param}"
    try:
        w("import", "-c", 'CMD ["sh"]', w_root.file("rootfs.tar", ROOTFS[0]), "busybox")
        w.ok("run", "-d", "--name", "up", "busybox", "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")
        yield w
        w("rm", "-f", *(w("ps", "-aq").stdout.split() or ["-"]))
    finally:
        for name in os.listdir(w.runroot / "live") if w.runroot.is_dir() else ():
            kill(int(name.partition(".")[0]))  # whatever went wrong, nothing of it may stay
        w("network", "down")  # nor the links of a store that is about to be gone
        shutil.rmtree(w.runroot, ignore_errors=True)
        w.until(lambda: subprocess.run(["umount", str(base)], capture_output=True).returncode == 0)


ROOTFS: list[bytes] = []


@pytest.fixture(autouse=True)
def _archive(rootfs: Path) -> None:
    ROOTFS[:] = [rootfs.read_bytes()]


def fill(w: Wherry) -> Path:
    """Somebody else's file takes the last block."""
    path = w.base / "somebody's"
    with path.open("wb", buffering=0) as file:
        piece = b"x" * 65536
        while piece:
            try:
                file.write(piece)
            except OSError:
                piece = piece[: len(piece) // 2]
    assert os.statvfs(w.base).f_bavail * 4096 < 65536
    return path


def test_what_makes_room_works_and_what_takes_room_says_so(small: Wherry) -> None:
    w = small
    w.ok("create", "--name", "there", "busybox")
    w.ok("run", "--name", "writer", "busybox", "sh", "-c", "echo kept > /kept")
    before = w.ok("images", "-q", "--no-trunc")
    theirs = fill(w)
    for words in (["run", "--rm", "busybox", "sh", "-c", "dd if=/dev/zero of=/x bs=1M count=1"], ["import", "-", "new"]):
        done = w(*words, input=ROOTFS[0] if words[0] == "import" else b"", text=False)
        said = (done.stdout + done.stderr).decode().lower()
        assert done.returncode != 0 and "no space left on device" in said, (words, done)
        assert "traceback" not in said
    assert w.ok("images", "-q", "--no-trunc") == before
    assert "up" in w.ok("ps", "--format", "{{.Names}}")
    w.ok("stop", "-t", "5", "up")
    assert w.ok("inspect", "-f", "{{.State.ExitCode}}", "up") == "7", "the record of the end was written"
    w.ok("rm", "there")
    theirs.unlink()
    w.ok("start", "writer")
    w.until_state("writer", "exited")
    assert w.check() == ""
    w.ok("run", "--rm", "busybox", "true")


def test_a_container_that_ends_by_itself_is_recorded(small: Wherry) -> None:
    w = small
    w.ok("run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 1.5; exit 5")
    theirs = fill(w)
    assert w.state("ends") == "running"
    w.until_state("ends", "exited")
    assert w.ok("inspect", "-f", "{{.State.ExitCode}}", "ends") == "5"
    w.ok("rm", "ends")
    theirs.unlink()
    assert w.check() == ""


def test_a_log_that_can_t_grow_stops_nobody(small: Wherry) -> None:
    w = small
    w.ok("run", "-d", "--name", "talks", "busybox", "sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done")
    w.until(lambda: "line 3" in w.ok("logs", "talks"))
    theirs = fill(w)
    first = w.ok("exec", "talks", "cut", "-d", " ", "-f", "22", "/proc/1/stat")
    w.until(lambda: w.ok("exec", "talks", "cut", "-d", " ", "-f", "22", "/proc/1/stat") == first)
    theirs.unlink()
    last = w.ok("logs", "talks").splitlines()[-1]
    w.until(lambda: w.ok("logs", "talks").splitlines()[-1] != last)
    numbers = [int(line.split()[1]) for line in w.ok("logs", "talks").splitlines()]
    assert numbers == sorted(set(numbers)), "lines may be lost, none is torn or mixed up"
