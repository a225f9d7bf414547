"""Hosts that lack something, made by the test: what `info` says of it, with the remedy, and what still works."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.engine import Wherry


def on(w: Wherry, preparation: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of the user's on a machine whose mounts were changed first, by root, in a mount namespace of their own."""
    if os.geteuid() != 0:
        pytest.skip("only root can make such a host")
    become = ["setpriv", f"--reuid={w.user.uid}", f"--regid={w.user.gid}", "--clear-groups"] if w.user.uid else []
    script = f'{preparation} && exec "$@"'
    command = ["unshare", "-m", "--propagation", "private", "sh", "-ec", script, "sh", *become, *w.words(*words)]
    return subprocess.run(command, env=w.env, cwd=w.base, capture_output=True, text=True, timeout=60)


def ladder(w: Wherry, preparation: str = "true") -> dict[str, Any]:
    tried = w.runroot / "tried"
    tried.unlink(missing_ok=True)
    done = on(w, preparation, "info", "--format", "json")
    tried.unlink(missing_ok=True)
    assert done.returncode == 0, done
    return {rung["Name"]: rung for rung in json.loads(done.stdout)["Wherry"]["Ladder"]}


def test_a_whole_host(w: Wherry) -> None:
    found = ladder(w)
    assert {name: found[name]["State"] for name in ("user namespaces", "overlayfs", "ids")} == {
        "user namespaces": "yes",
        "overlayfs": "yes",
        "ids": "less" if w.single_id else "yes",
    }, found
    assert [rung["Name"] for rung in found.values() if rung["State"] != "yes" and not rung["Remedy"]] == []
    for name in found:
        assert f" {name}: " in w.ok("info")


def test_it_is_tried_once_for_each_boot(w_user: Wherry) -> None:
    w = w_user
    w.ok("info")
    before = (w.runroot / "tried").stat().st_mtime_ns
    w.ok("info")
    assert (w.runroot / "tried").stat().st_mtime_ns == before


def test_proc_that_is_covered(w_user: Wherry) -> None:
    """As in an outer container: the kernel refuses a new procfs, so the one that is there is bound."""
    cover = "mount -t tmpfs none /proc/driver"
    rung = ladder(w_user, cover)["/proc"]
    assert rung["State"] == "less" and "/proc/driver" in rung["Found"] and "unmask=ALL" in rung["Remedy"]
    done = on(w_user, cover, "run", "--rm", "--network", "none", "busybox", "cat", "/proc/self/comm")
    assert (done.returncode, done.stdout) == (0, "cat\n"), done


def test_sys_that_is_read_only(w_user: Wherry) -> None:
    harden = "mount --rbind /sys /sys && mount -o remount,bind,ro /sys"
    rung = ladder(w_user, harden)["/sys"]
    assert rung["State"] == "less" and "--privileged" in rung["Remedy"]
    done = on(w_user, harden, "run", "--rm", "--network", "none", "busybox", "echo", "fine")
    assert (done.returncode, done.stdout) == (0, "fine\n"), done


def test_a_store_that_can_t_carry_an_overlay(w_root: Wherry) -> None:
    w = w_root
    under = w.folder("under")
    for name in ("lower", "upper", "work", "merged"):
        (under / name).mkdir()
    stack = f"cd {under} && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged && cd {w.base}"
    elsewhere = Wherry(w.command, w.user, w.base, "root")
    elsewhere.root, elsewhere.runroot = under / "merged/store", w.base / "run-elsewhere"
    rung = ladder(elsewhere, stack)["overlayfs"]
    assert rung["State"] == "no" and "--root" in rung["Remedy"], rung


def test_without_namespaces_the_rest_is_not_tried(w_user: Wherry) -> None:
    w = w_user
    (w.runroot / "tried").unlink(missing_ok=True)
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = w.host("unshare", "-U", "--map-root-user", "sh", "-c", script, "sh", *w.words("info", "--format", "json"))
    (w.runroot / "tried").unlink(missing_ok=True)
    assert done.returncode == 0, done
    found = {rung["Name"]: rung for rung in json.loads(done.stdout)["Wherry"]["Ladder"]}
    assert found["user namespaces"]["State"] == found["overlayfs"]["State"] == "no"
    assert "sysctl -w user.max_user_namespaces" in found["user namespaces"]["Remedy"]
