"""`cp` by docker's rules, for a container that runs and for one that doesn't."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import Wherry

TREE = "mkdir -p /d/e; echo hi > /d/e/f; chmod 640 /d/e/f; ln -s /d /link; ln -s /etc/passwd /d/abs; ln -s nowhere /broken"


@pytest.fixture(params=["runs", "ended"])
def box(w: Wherry, request: pytest.FixtureRequest) -> Iterator[Wherry]:
    """A container `box` with TREE, a volume at /data, a read-only bind at /ro and a tmpfs at /tm."""
    host = w.folder("bind")
    words = ["--network", "none", "--name", "box", "-v", "boxdata:/data", "-v", f"{host}:/ro:ro", "--tmpfs", "/tm"]
    if request.param == "ended":
        w.ok("run", *words, "busybox", "sh", "-c", TREE)
    else:
        w.ok("run", "-d", *words, "busybox", "sh", "-c", TREE + "; touch /ready; exec sleep 100")
        w.until(lambda: w("exec", "box", "test", "-e", "/ready").returncode == 0)
    yield w
    w.ok("rm", "-f", "box")
    w("volume", "rm", "boxdata")


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def said(w: Wherry, *words: str | Path, **options: object) -> str:
    """What a failing `cp` says."""
    done = w("cp", *words, **options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return str(done.stderr).strip()


def copied(w: Wherry, *words: str | Path) -> None:
    done = w("cp", *words)
    assert done.returncode == 0, f"{w.label}: cp {words}: {done.stderr}"


def seen(w: Wherry, path: str) -> bytes:
    done = w("cp", f"box:{path}", "-", text=False)
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        found = tar.extractfile(next(iter(tar)))
        assert found is not None
        return found.read()


def test_out_of_a_container(box: Wherry) -> None:
    w = box
    here = w.folder("out")
    done = w("cp", "box:/d", here)
    assert done.stdout == "" and done.stderr == f"Successfully copied 7.68kB to {here}\n"
    assert names(here / "d") == ["abs", "e", "e/f"]
    assert (here / "d/e/f").read_text() == "hi\n" and (here / "d/e/f").stat().st_mode & 0o777 == 0o640
    assert (here / "d/e/f").stat().st_uid == w.user.uid and os.readlink(here / "d/abs") == "/etc/passwd"
    copied(w, "box:/d/.", here / "new")
    assert names(here / "new") == ["abs", "e", "e/f"]
    copied(w, "-q", "box:d/e/f", here / "file")
    assert (here / "file").read_text() == "hi\n"
    copied(w, "box:/link", here / "link")
    assert os.readlink(here / "link") == "/d"
    copied(w, "-L", "box:/link", here / "followed")
    copied(w, "box:/link/", here / "slash")
    assert names(here / "followed") == names(here / "slash") == ["abs", "e", "e/f"]
    copied(w, "box:/d/e/f", here / "d" / "abs2")
    assert said(w, "box:/nope", here) == "Error response from daemon: Could not find the file /nope in container box"
    assert said(w, "box:/d/e/f", here / "none" / "x").startswith("invalid output path: directory")
    assert said(w, "box:/d/e/f", f"{here}/none/") == "no such directory"
    assert said(w, "box:/d", here / "file") == "cannot copy directory"
    (here / "f").mkdir()
    os.chown(here / "f", w.user.uid, w.user.gid)
    assert said(w, "box:/d/e/f", here).startswith("cannot overwrite directory with non-directory")


def test_into_a_container(box: Wherry) -> None:
    w = box
    here = w.folder("in")
    for name, content in {"a/b/c": "one", "a/d": "two", "x": "three"}.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(content)
        os.utime(here / name, (1_000_000_000, 1_000_000_000))
    os.symlink("x", here / "l")
    subprocess.run(["chown", "-hR", f"{w.user.uid}:{w.user.gid}", here], check=True)
    done = w("cp", here / "x", "box:/tmp")
    assert done.stderr == "Successfully copied 2.05kB to box:/tmp\n"
    assert seen(w, "/tmp/x") == b"three"
    copied(w, here / "x", "box:/link/y")
    assert seen(w, "/d/y") == b"three"
    copied(w, here / "a", "box:/fresh")
    assert seen(w, "/fresh/b/c") == b"one"
    copied(w, here / "a", "box:/fresh")
    assert seen(w, "/fresh/a/d") == b"two"
    copied(w, f"{here}/a/.", "box:/d")
    assert seen(w, "/d/b/c") == b"one" and seen(w, "/d/e/f") == b"hi\n"
    copied(w, here / "l", "box:/tmp/")
    copied(w, "-L", here / "l", "box:/tmp/followed")
    assert seen(w, "/tmp/followed") == b"three"
    copied(w, here / "x", "box:/data/kept")
    assert w.ok("run", "--rm", "--network", "none", "-v", "boxdata:/v", "busybox", "cat", "/v/kept") == "three"
    assert said(w, here / "x", "box:/ro/x") == "Error response from daemon: mounted volume is marked read-only"
    assert said(w, here / "x", "box:/none/") == "no such directory"
    assert said(w, here / "x", "box:/none/x") == "Error response from daemon: Could not find the file /none in container box"
    assert said(w, here / "a", "box:/d/e/f") == "cannot copy directory"
    assert "cannot overwrite directory" in said(w, here / "x", "box:/d") if w("cp", here / "a/b", "box:/d/x").returncode == 0 else False
    assert said(w, here / "nothing", "box:/") == f"lstat {here}/nothing: no such file or directory"
    assert said(w, here / "x", "nobody:/") == "Error response from daemon: No such container: nobody"


def test_streams(box: Wherry) -> None:
    w = box
    done = w("cp", "box:/d", "-", text=False)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames() == ["d", "d/abs", "d/e", "d/e/f"]
    for mode in ("w", "w:gz"):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode=mode) as tar:  # type: ignore[call-overload]
            member = tarfile.TarInfo("s/t")
            member.size = 5
            tar.addfile(member, io.BytesIO(b"hello"))
        done = w("cp", "-", "box:/d", input=made.getvalue(), text=False)
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert seen(w, "/d/s/t") == b"hello"
    assert said(w, "-", "box:/d/e/f", input="") == 'destination "box:/d/e/f" must be a directory'
    outward = io.BytesIO()
    with tarfile.open(fileobj=outward, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../../canary"), io.BytesIO())
    assert w("cp", "-", "box:/d", input=outward.getvalue(), text=False).returncode == 1
    assert w("cp", "-", "box:/d", input=b"no tar at all", text=False).returncode == 1


def test_words(w_user: Wherry) -> None:
    assert said(w_user, "a:/x", "b:/y") == "copying between containers is not supported"
    assert said(w_user, "x", "y") == "must specify at least one container source"
    assert said(w_user, "./a:b", "c/d") == "must specify at least one container source"
    assert said(w_user, "", "b:/y") == "source can not be empty"


def test_read_only_root_is_refused(w: Wherry) -> None:
    source = w.file("x", "new")
    w.ok("run", "-d", "--network", "none", "--read-only", "--tmpfs", "/tm", "--name", "box", "busybox", "sleep", "100")
    for _ in ("runs", "ended"):
        assert said(w, source, "box:/etc/x") == "Error response from daemon: container rootfs is marked read-only"
        copied(w, "box:/etc/group", w.folder("out"))
        w("kill", "box")
        w("wait", "box")


def test_archive_mode_gives_files_to_the_containers_user(w: Wherry) -> None:
    source = w.file("x", "new")
    w.ok("run", "-d", "--network", "none", "-u", "7:8", "--name", "box", "busybox", "sleep", "100")
    copied(w, "-a", source, "box:/tmp/mine")
    copied(w, source, "box:/tmp/theirs")
    if not w.single_id:
        assert w.ok("exec", "box", "stat", "-c", "%u:%g", "/tmp/mine", "/tmp/theirs").split() == ["7:8", "0:0"]


@pytest.mark.parametrize("direction", ["in", "out"])
def test_links_that_are_swapped_meanwhile_lead_nowhere_else(w_root: Wherry, direction: str) -> None:
    """A container moves a link to / and a folder about under `cp`'s path; nothing of the host's is read or written."""
    w = w_root
    canary = w.folder("canary")
    (canary / "secret").write_text("the host's")
    inner = str(canary)
    away = "ln -s ../../../../../../../../.. /p; mv /p /q; rm /q"
    here = f"mkdir -p /p{inner}; echo inner > /p{inner}/secret; rm -r /p"
    swap = f"mkdir -p /a {inner}; echo inner > {inner}/secret; while :; do {away}; {here}; done"
    w.ok("run", "-d", "--network", "none", "--name", "box", "busybox", "sh", "-c", swap)
    source, target = w.file("secret", "from cp"), w.folder("target")
    end = time.monotonic() + 3
    while time.monotonic() < end:
        if direction == "in":
            w("cp", source, f"box:/p{inner}/")
        else:
            w("cp", f"box:/p{inner}/secret", target / "got")
            if (target / "got").exists():
                assert (target / "got").read_text() != "the host's"
    assert [p.name for p in canary.iterdir()] == ["secret"] and (canary / "secret").read_text() == "the host's"
