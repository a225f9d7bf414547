"""Builds whose processes are killed at random instants, two at once, and on a disk that fills up."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.chaos import Chaos
from support.engine import Wherry

# Two stages side by side, one that takes from both; contents follow from the ARG, so that any result can be judged.
DOCKERFILE = """
FROM busybox AS a
ARG N
RUN mkdir /a && for i in 1 2 3 4 5 6 7 8 9; do echo $N $i > /a/$i; done
COPY many /many
FROM busybox AS b
ARG N
RUN --mount=type=cache,id=c,target=/c echo $N > /c/last && echo $N > /b
WORKDIR /made/here
FROM busybox
COPY --from=a /a /a
COPY --from=b /b /b
COPY --from=a /many /many
RUN cat /a/9 /b > /both
"""


def folder_of(w: Wherry) -> Path:
    folder = w.folder("build")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "many").mkdir()
    for number in range(200):
        (folder / f"many/{number}").write_text(f"{number}\n")
    subprocess.run(["chown", "-R", f"{w.user.uid}:{w.user.gid}", str(folder)], check=True)
    return folder


def is_right(w: Wherry, number: str) -> None:
    shown = w.ok("run", "--rm", "--network", "none", "built", "sh", "-c", "cat /both; ls /many | wc -l; cat /many/199; ls /a | wc -l")
    assert shown.split() == [number, "9", number, "200", "199", "9"]


@pytest.mark.parametrize("victim", ["command", "helper", "group"])
def test_builds_killed_at_any_instant(chaos: Chaos, victim: str) -> None:
    w = chaos.w
    folder = folder_of(w)
    span_s = chaos.duration("build", "-q", "-t", "built", "--build-arg", "N=first", folder)
    for number in chaos.rounds(10):
        words = ("build", "-q", "-t", "built", "--build-arg", f"N={number}", folder)
        outcome = chaos.strike(victim, words, span_s)
        if outcome.acknowledged:
            is_right(w, str(number))
        chaos.settle()
        done = w(*words)
        assert done.returncode == 0, f"{chaos}: {done.stderr}"
        is_right(w, str(number))
    w.ok("rmi", "-f", "built")
    w.ok("builder", "prune", "-af")
    chaos.settle()


def test_two_at_once_of_which_one_is_killed(chaos: Chaos) -> None:
    w = chaos.w
    folder = folder_of(w)
    span_s = chaos.duration("build", "-q", "-t", "built", "--build-arg", "N=first", folder)
    for number in chaos.rounds(4):
        words = ("build", "-q", "-t", "built", "--build-arg", f"N=x{number}", folder)
        other = w.popen(*words)
        chaos.strike("group", words, span_s)
        _out, err = other.communicate(timeout=120)
        assert other.returncode == 0, f"{chaos}: {err.decode()}"
        is_right(w, f"x{number}")
        chaos.settle()
    w.ok("builder", "prune", "-af")


@pytest.fixture
def small_disk(w_root: Wherry) -> Iterator[Wherry]:
    """An engine of root's whose store lies on a file system of 64 MB."""
    base = Path(tempfile.mkdtemp(prefix="wherry-full-"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(base)], capture_output=True).returncode:
        base.rmdir()
        pytest.skip("a small file system can't be mounted here")
    try:
        yield Wherry(w_root.command, w_root.user, base, "root")
    finally:
        subprocess.run(["umount", "-l", str(base)], check=True)
        shutil.rmtree(base, ignore_errors=True)


def test_a_disk_that_fills_up(small_disk: Wherry, rootfs: Path) -> None:
    w = small_disk
    w.ok("import", rootfs, "busybox")
    folder = folder_of(w)
    (folder / "large").write_bytes(os.urandom(24 << 20))
    kept = "FROM busybox\nRUN echo kept > /kept\n"
    (folder / "Dockerfile").write_text(kept + "RUN head -c 90000000 /dev/zero > /big\n")
    done = w("build", "-t", "full", folder)
    assert done.returncode == 1
    assert "exit code: 1" in done.stderr
    (folder / "Dockerfile").write_text(kept + "COPY large /1\nCOPY large /2\nRUN cp /1 /3\n")
    done = w("build", "-t", "full", folder)
    assert done.returncode == 1, done.stderr
    assert "no space left on device" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert w("images", "-q", "full").stdout == ""
    w.ok("builder", "prune", "-f", "--max-used-space", "1MB")
    (folder / "Dockerfile").write_text(kept + "COPY many /many\n")
    assert w("build", "-t", "full", folder).returncode == 0
    assert w.ok("run", "--rm", "--network", "none", "full", "cat", "/kept", "/many/7") == "kept\n7"
    assert w.check() == ""
