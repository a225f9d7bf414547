"""An ordinary user on hosts that lack something: what still works, and what is said about the rest."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import Wherry


class Fresh:
    """The command of a user without any options: default places below a home of its own."""

    def __init__(self, w: Wherry, rootfs: Path) -> None:
        self.w, self.home = w, w.folder("home")
        self.rootfs = rootfs
        self.env = {"HOME": str(self.home)}

    def __call__(self, *words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        env = {**self.env, **(options.pop("env", None) or {})}  # type: ignore[dict-item]
        return self.w.host(self.w.command, *words, env=env, **options)

    def ready(self) -> None:
        done = self("import", self.rootfs, "busybox")
        assert done.returncode == 0, done.stderr


@pytest.fixture
def fresh(w_user: Wherry, rootfs: Path) -> Iterator[Fresh]:
    fallback = Path(f"/tmp/wherry-{w_user.user.uid}")
    # left by a user of an earlier run whose number is used again
    subprocess.run(["rm", "-rf", str(fallback)], check=True)
    f = Fresh(w_user, rootfs)
    yield f
    f("rm", "-f", *f("ps", "-aq").stdout.split())
    for path in (fallback, f.home):
        # in the user's own namespace there are files of his other ids
        subprocess.run(["rm", "-rf", str(path)], check=True)


def test_default_places(fresh: Fresh) -> None:
    fresh.ready()
    assert fresh("run", "--rm", "busybox", "echo", "fine").stdout == "fine\n"
    assert (fresh.home / ".local/share/wherry/wherry.db").exists()
    data = fresh.home / "data"
    data.mkdir()
    os.chown(data, fresh.w.user.uid, fresh.w.user.gid)
    assert fresh("images", "-q", env={"XDG_DATA_HOME": str(data)}).stdout == ""
    assert (data / "wherry/wherry.db").exists()


def test_run_root_where_nothing_was_prepared(fresh: Fresh) -> None:
    """No session, no XDG_RUNTIME_DIR, no /run/user: a folder in /tmp that nobody else can enter."""
    fresh.ready()
    assert fresh("run", "-d", "busybox", "sleep", "100").returncode == 0
    if not Path(f"/run/user/{fresh.w.user.uid}").exists():
        place = Path(f"/tmp/wherry-{fresh.w.user.uid}").stat()
        assert (place.st_uid, place.st_mode & 0o7777) == (fresh.w.user.uid, 0o700)
    # another session of the same user, which has the variable, finds the same containers
    runtime = fresh.home / "runtime"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, fresh.w.user.uid, fresh.w.user.gid)
    assert len(fresh("ps", "-q", env={"XDG_RUNTIME_DIR": str(runtime)}).stdout.split()) == 1


def test_folder_that_somebody_else_prepared_is_not_used(fresh: Fresh) -> None:
    if os.geteuid() != 0 or Path(f"/run/user/{fresh.w.user.uid}").exists():
        pytest.skip("needs root to make somebody else's folder, and no /run/user")
    place = Path(f"/tmp/wherry-{fresh.w.user.uid}")
    place.mkdir(mode=0o777)
    try:
        done = fresh("ps")
        assert done.returncode != 0 and str(place) in done.stderr and "Traceback" not in done.stderr
    finally:
        place.rmdir()


def test_without_newuidmap_one_id_is_used(fresh: Fresh) -> None:
    folder = fresh.home / "bin"
    folder.mkdir()
    fresh.env["PATH"] = str(folder)
    fresh.ready()
    done = fresh("run", "--rm", "busybox", "cat", "/proc/self/uid_map")
    assert done.stdout.split()[0] == "0" and done.stdout.split()[2] == "1", done.stderr
    done = fresh("run", "--rm", "busybox", "chown", "1000:1000", "/etc/passwd")
    assert done.returncode == 0, done.stderr


def test_user_namespaces_forbidden(fresh: Fresh) -> None:
    """The limit is set inside a namespace made for it, so the machine's own stays."""
    fresh.ready()
    command = f"{fresh.w.command} --root {fresh.home}/.local/share/wherry --runroot {fresh.home}/run"
    script = f"echo 0 > /proc/sys/user/max_user_namespaces && {command} info && exec {command} run --rm --pull never busybox true"
    done = fresh.w.host("unshare", "-U", "--map-root-user", "sh", "-c", script, env=fresh.env)
    assert done.returncode == 125
    assert "user.max_user_namespaces=0" in done.stdout
    assert "this host doesn't let you make user namespaces" in done.stderr and "wherry info" in done.stderr
    assert "Traceback" not in done.stderr


def test_home_that_cannot_be_written(fresh: Fresh) -> None:
    done = fresh("images", env={"HOME": "/proc/nowhere"})
    assert done.returncode != 0 and "Traceback" not in done.stderr and "/proc/nowhere" in done.stderr


def test_no_home_at_all(fresh: Fresh) -> None:
    done = fresh("images", env={"HOME": None})  # type: ignore[dict-item]
    assert "Traceback" not in done.stderr


def test_two_users_do_not_see_each_other(w_user: Wherry, w_nosubids: Wherry) -> None:
    w_user.ok("run", "-d", "--name", "mine", "busybox", "sleep", "100")
    assert w_nosubids.ok("ps", "-aq") == ""
    done = w_nosubids.host(w_nosubids.command, "--root", w_user.root, "--runroot", w_user.runroot, "ps")
    assert done.returncode != 0 and "Traceback" not in done.stderr
