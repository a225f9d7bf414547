"""Somebody swaps a folder for a link while a container is set up over it: ten seconds of each in a soak, less in every run."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import Wherry
from support.place import SOAK

SECONDS = 10.0 if SOAK else 1.5
RENAME_EXCHANGE = 2


class Swapper:
    """Exchanges two names of a folder as fast as it can, until it is stopped."""

    def __init__(self, folder: Path, one: str, other: str) -> None:
        self._names = [os.fsencode(folder / name) for name in (one, other)]
        self._over = threading.Event()
        self.count = 0
        self._thread = threading.Thread(target=self._swap)
        self._thread.start()

    def _swap(self) -> None:
        renameat2 = ctypes.CDLL(None).renameat2
        while not self._over.is_set():
            renameat2(-100, self._names[0], -100, self._names[1], RENAME_EXCHANGE)
            self.count += 1

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def swapped(w_user: Wherry) -> Iterator[tuple[Path, Path, Swapper]]:
    """A shared folder in which `dir` is a folder at one instant and a link out at the next; beside it what the link leads to."""
    w = w_user
    shared, bait = w.folder("shared"), w.folder("bait")
    (bait / "secret").write_text("of the host\n")
    for path in (shared / "dir", shared / "dir/sub"):
        path.mkdir()
        os.chown(path, w.user.uid, w.user.gid)
    (shared / "link").symlink_to(f"../../../../../../..{bait}")
    found = Swapper(shared, "dir", "link")
    yield shared, bait, found
    found.stop()


def test_a_mount_over_a_folder_that_turns_into_a_link(w_user: Wherry, swapped: tuple[Path, Path, Swapper]) -> None:
    """CVE-2021-30465: the destination of a mount lies in a folder that another container has in hand."""
    w = w_user
    shared, bait, swapper = swapped
    payload = w.folder("payload")
    (payload / "mine").write_text("of the container\n")
    well = refused = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        script = "ls /mnt/dir /mnt/dir/sub 2>/dev/null; cat /mnt/dir/secret /secret 2>/dev/null; grep -c payload /proc/self/mountinfo"
        done = w("run", "--rm", "--network", "none", "-v", f"{shared}:/mnt", "-v", f"{payload}:/mnt/dir/sub", "busybox", "sh", "-c", script)
        assert "Traceback" not in done.stderr
        assert "of the host" not in done.stdout, done
        if done.returncode == 0:
            well += 1
            assert done.stdout.split()[-1] == "1", "the mount is in the container, and once"
        else:
            refused += 1
            assert done.returncode in (1, 125, 127), done
        # Nothing was mounted or made where the link leads.
        assert os.listdir(bait) == ["secret"] and not os.path.ismount(bait)
    assert swapper.count > 1000 and well + refused > 2, (swapper.count, well, refused)


def test_a_working_directory_that_turns_into_a_link(w_user: Wherry, swapped: tuple[Path, Path, Swapper]) -> None:
    w = w_user
    shared, bait, _swapper = swapped
    w.ok("run", "-d", "--network", "none", "--name", "cx", "-v", f"{shared}:/mnt", "busybox", "sleep", "1000")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done = w("exec", "-w", "/mnt/dir", "cx", "cat", "secret")
        assert done.returncode != 0 and "of the host" not in done.stdout, done
        assert os.listdir(bait) == ["secret"]


def test_a_bind_s_source_that_turns_into_a_link_is_the_caller_s_matter_and_stays_within_his_rights(
    w_user: Wherry, swapped: tuple[Path, Path, Swapper]
) -> None:
    """A source is a path of the host's, looked up once with the caller's rights: it is one of the two, never a mixture."""
    w = w_user
    shared, _bait, _swapper = swapped
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done = w("run", "--rm", "--network", "none", "-v", f"{shared}/dir:/mnt", "busybox", "ls", "/mnt")
        assert done.returncode in (0, 125) and "Traceback" not in done.stderr, done
        assert done.returncode or done.stdout.split() in (["sub"], ["secret"]), done
