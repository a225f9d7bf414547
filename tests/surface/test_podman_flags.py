"""podman's flags of `run` and `create`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from support.engine import Wherry


def test_environment_mask_zone_and_hosts(w: Wherry) -> None:
    env = {**w.env, "FROM_HOST": "here", "OTHER": "host"}
    script = "umask; echo $FROM_HOST $OTHER; ls /etc/hosts 2>&1 | grep -c '^/etc/hosts$' || true"
    flags = ["--umask", "0077", "--env-host", "-e", "OTHER=own", "--no-hosts"]
    assert w.ok("run", "--rm", *flags, "busybox", "sh", "-c", script, env=env).split() == ["0077", "here", "own", "0"]


def test_variables_of_the_image_are_taken_away(w_user: Wherry, rootfs: Path) -> None:
    w = w_user
    w.ok("import", "-c", "ENV AA=1 BB=2", rootfs, "withenv")
    try:
        assert w.ok("run", "--rm", "--unsetenv", "AA", "withenv", "sh", "-c", "echo $AA:$BB") == ":2"
        assert w.ok("run", "--rm", "--unsetenv-all", "-e", "CC=3", "withenv", "sh", "-c", "echo $AA:$BB:$CC") == "::3"
    finally:
        w("rmi", "withenv")


def test_time_zone(w_root: Wherry) -> None:
    if not os.path.exists("/usr/share/zoneinfo/Asia/Tokyo"):
        pytest.skip("this machine has no time zones")
    assert w_root.ok("run", "--rm", "--tz", "Asia/Tokyo", "busybox", "date", "+%z") == "+0900"
    assert "unknown time zone" in w_root("run", "--rm", "--tz", "../../etc/passwd", "busybox", "date").stderr


def test_it_is_killed_when_its_time_is_up(w_user: Wherry) -> None:
    begun = time.monotonic()
    assert w_user("run", "--rm", "--timeout", "1", "busybox", "sleep", "50").returncode == 137
    assert 0.9 < time.monotonic() - begun < 20


def test_replace_and_pidfile(w: Wherry) -> None:
    path = w.folder("pid") / "pid"
    first = w.ok("run", "-d", "--name", "same", "--pidfile", path, "busybox", "sleep", "100")
    assert path.read_text() == w.ok("inspect", "-f", "{{.State.Pid}}", "same")
    second = w.ok("run", "-d", "--replace", "--name", "same", "busybox", "sleep", "100")
    assert first != second and w.ids() == [second]
    assert "without --name" in w("run", "--replace", "busybox", "true").stderr


def test_a_folder_as_root_file_system(w_root: Wherry, rootfs: Path) -> None:
    w = w_root
    folder = w.folder("root")
    w.host("tar", "-C", folder, "-xf", rootfs)
    w.ok("run", "--rm", "--rootfs", f"{folder}:O", "sh", "-c", "touch /not-kept")
    assert not (folder / "not-kept").exists()
    w.ok("run", "--name", "there", "--rootfs", folder, "sh", "-c", "touch /kept")
    assert (folder / "kept").exists()
    assert w.ok("inspect", "-f", "{{.Rootfs}}|{{.Image}}", "there") == f"{folder}|"
    w.ok("start", "-a", "there")
    w.ok("ps", "-a")
    assert "is no folder" in w("run", "--rootfs", "/nothing/here", "sh").stderr
    w.ok("rm", "there")
    assert (folder / "kept").exists()


def test_entries_for_a_user_that_the_image_does_not_know(w: Wherry) -> None:
    if w.single_id:
        pytest.skip("one id is all there is")
    flags = ["--user", "1234:55", "--passwd-entry", "joe:x:$UID:$GID::/:/bin/sh", "--group-entry", "crew:x:$GID:"]
    assert w.ok("run", "--rm", *flags, "busybox", "id") == "uid=1234(joe) gid=55(crew) groups=55(crew)"
    assert w.ok("run", "--rm", "--passwd-entry", "joe:x:0:0::/:/bin/sh", "busybox", "id", "-un") == "root"
