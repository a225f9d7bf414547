"""What we ask of the kernel and of the host's files, and how the answers are read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.place import CHECKOUT
from wherry.kernel import cgroup, mountinfo, process, subids, userns

# -- processes ------------------------------------------------------------------------------------------------------------


def test_start_time_is_field_22_whatever_the_name_is(tmp_path: Path) -> None:
    """A program may be called `a) R 1 (b`: only the last parenthesis ends the name."""
    odd = tmp_path / "a) R 1 (b"
    shutil.copy(shutil.which("sleep") or "", odd)
    child = subprocess.Popen([odd, "30"])
    try:
        start = process.start_time(child.pid)
        ticks = os.sysconf("SC_CLK_TCK")
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        assert 0 <= uptime - start / ticks < 60
        assert process.alive(child.pid, start) and not process.alive(child.pid, start + 1)
    finally:
        child.kill()
        # Until it is waited for it is a corpse, and counts as gone.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert process.start_time(child.pid) == 0
        child.wait()


def test_nobody_is_alive() -> None:
    assert process.start_time(2**22 + 1) == 0
    for pid, start in ((0, 0), (-1, 5), (os.getpid(), 0), (0, 1)):
        assert not process.alive(pid, start)


def test_only_that_very_process_is_signalled() -> None:
    child = subprocess.Popen(["sleep", "30"])
    start = process.start_time(child.pid)
    assert not process.kill(child.pid, start + 1)
    assert child.poll() is None
    assert process.kill(child.pid, start, signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM
    assert not process.kill(child.pid, start)


def test_boot_id_stays() -> None:
    assert len(process.boot_id()) == 36 and process.boot_id() == process.boot_id()


# -- subordinate ids ------------------------------------------------------------------------------------------------------


def test_ranges_by_name_and_by_number(tmp_path: Path) -> None:
    path = tmp_path / "subuid"
    path.write_text("alice:100000:65536\nbob:5:1\n1000:300000:10\n\n#x\nalice:7\nalice:x:5\nalice:1:0\n:9:9\nalice:-5:5\n")
    assert subids.of_user(str(path), 1000, "alice") == ((100000, 65536), (300000, 10))
    assert subids.of_user(str(path), 1000, "") == ((300000, 10),)
    assert subids.of_user(str(path), 2000, "carol") == ()
    assert subids.of_user(f"{path}.none", 1000, "alice") == ()


# -- user namespaces ------------------------------------------------------------------------------------------------------


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user 1000 with helpers and ranges, each to be taken away. Gives the folder of the helpers."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 100)
    monkeypatch.setattr(userns, "user_name", lambda uid: "alice")
    monkeypatch.setattr(userns, "_PLACES", ())
    monkeypatch.setattr(userns, "_may_map", lambda path: True)
    monkeypatch.setattr(subids, "of_user", lambda path, uid, name: ((100000, 65536), (300000, 10)))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("WHERRY_SINGLE_ID", raising=False)
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def test_user_with_ranges(as_user: Path) -> None:
    found = userns._look_up()
    assert found.mode == "newuidmap" and found.lack == ""
    assert found.uids == ((0, 1000, 1), (1, 100000, 65536), (65537, 300000, 10))
    assert found.gids == ((0, 100, 1), (1, 100000, 65536), (65537, 300000, 10))
    assert found.helpers == (f"{as_user}/newuidmap", f"{as_user}/newgidmap")


def test_user_whose_host_lacks_something_is_told_what(as_user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack() -> str:
        found = userns._look_up()
        assert (found.mode, found.uids, found.gids) == ("single", ((0, 1000, 1),), ((0, 100, 1),))
        return found.lack

    with monkeypatch.context() as patch:
        patch.setattr(userns, "_may_map", lambda path: False)
        assert "chmod u+s" in lack()
    with monkeypatch.context() as patch:
        patch.setattr(subids, "of_user", lambda path, uid, name: ())
        assert "usermod --add-subuids" in lack() and "alice" in lack()
    with monkeypatch.context() as patch:
        patch.setenv("WHERRY_SINGLE_ID", "1")
        assert lack() == "WHERRY_SINGLE_ID=1"
    (as_user / "newgidmap").unlink()
    assert "not installed" in lack()


def test_a_helper_of_somebody_else_s_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "newuidmap"
    path.write_text("")
    path.chmod(0o755)
    assert not userns._may_map(str(path))
    if os.geteuid() == 0:
        path.chmod(0o4755)
        assert userns._may_map(str(path))
        os.chown(path, 1000, 1000)
        path.chmod(0o4755)
        assert not userns._may_map(str(path))


def test_root_of_another_user_namespace_is_no_root_of_the_host() -> None:
    code = f"import sys; sys.path.insert(0, {str(CHECKOUT / 'src')!r}); from wherry.kernel import userns; print(userns.current().mode)"
    inside = ["unshare", "--user", "--map-root-user", sys.executable, "-I", "-S", "-c", code]
    environment = {"PATH": os.environ["PATH"], "WHERRY_SINGLE_ID": "1"}
    done = subprocess.run(inside, capture_output=True, text=True, env=environment)
    if done.returncode:
        pytest.skip(f"no user namespaces here: {done.stderr}")
    assert done.stdout == "single\n"
    # …but where wherry itself has brought us into R, it is.
    done = subprocess.run(inside, capture_output=True, text=True, env=environment | {userns.MARK: "1"})
    assert done.stdout == "host\n"


def test_ranges_that_a_namespace_does_not_have_do_not_count() -> None:
    ranges = ((1, 65535), (100000, 65536), (65000, 1000))
    assert userns._within(ranges, ((0, 65536),)) == ((1, 65535),)
    assert userns._within(ranges, userns._ALL) == ranges


@pytest.mark.parametrize(
    ("file", "text", "word"),
    [
        ("/proc/sys/user/max_user_namespaces", "0", "max_user_namespaces"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "apparmor_parser"),
    ],
)
def test_obstacles_come_with_their_remedy(file: str, text: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("WHERRY_NATIVE", "/opt/wherry-native")
    monkeypatch.setattr(userns, "_number", lambda path: int(text) if path == file else None)
    found = userns.obstacle()
    assert found is not None and word in found.message + found.hint
    monkeypatch.setattr(userns, "_number", lambda path: None)
    assert userns.obstacle() is None


# -- control groups -------------------------------------------------------------------------------------------------------


def hierarchy(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file in ("tasks", "cgroup.procs"):
            (folder / name / file).touch()


def test_v1_has_a_group_in_each_controller_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "MOUNT", str(tmp_path))
    monkeypatch.setattr(cgroup, "_V2_MARK", f"{tmp_path}/cgroup.controllers")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    hierarchy(tmp_path, "pids", "memory", "cpu,cpuacct")
    for name in ("cpu", "cpuacct"):
        (tmp_path / name).symlink_to("cpu,cpuacct")
    found = cgroup.layout("c1")
    assert [path for _v, path, _p in found] == [f"{tmp_path}/{name}/wherry/c1" for name in ("pids", "memory", "cpu")]
    assert {version for version, _path, _parent in found} == {1} and cgroup.version_text() == "1"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cgroup.layout("c1") == []


@pytest.mark.parametrize(
    ("own", "there"),
    [
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope", True),
        ("/user.slice/user-1000.slice/user@1000.service", True),
        # A login by ssh: systemd lets nobody but root move a process from here into the user's tree.
        ("/user.slice/user-1000.slice/session-3.scope", False),
        ("/user.slice/user-1000.slice/user@1000.service2", False),
        ("", False),
    ],
)
def test_v2_of_a_user_only_inside_what_is_delegated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, there: bool) -> None:
    monkeypatch.setattr(cgroup, "MOUNT", str(tmp_path))
    monkeypatch.setattr(cgroup, "_V2_MARK", f"{tmp_path}/cgroup.controllers")
    monkeypatch.setattr(cgroup, "_own_v2_path", lambda: own)
    (tmp_path / "cgroup.controllers").touch()
    service = "user.slice/user-1000.slice/user@1000.service"
    hierarchy(tmp_path, service)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    expected = (2, f"{tmp_path}/{service}/wherry/c1", f"{tmp_path}/{service}/wherry")
    assert cgroup.layout("c1") == ([expected] if there else [])
    # What was made is found and removed from wherever the next command runs.
    Path(expected[1]).mkdir(parents=True)
    cgroup.remove("c1")
    assert not Path(expected[1]).exists()


def test_groups_of_containers_are_found_by_their_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "MOUNT", str(tmp_path))
    monkeypatch.setattr(cgroup, "_V2_MARK", f"{tmp_path}/cgroup.controllers")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    hierarchy(tmp_path, "pids", f"pids/wherry/{'a' * 64}", "pids/wherry/other")
    assert cgroup.existing() == ["a" * 64]
    monkeypatch.setattr(cgroup, "MOUNT", f"{tmp_path}/none")
    assert cgroup.existing() == []


# -- mounts ---------------------------------------------------------------------------------------------------------------


def test_lines_of_mountinfo(tmp_path: Path) -> None:
    path = tmp_path / "mountinfo"
    path.write_text(
        "36 35 98:0 /a\\040b /mnt\\011x rw,noatime shared:1 master:2 - ext3 /dev/root\\043 rw,errors=continue\n"
        "37 36 0:5 / /back\\134040 rw - tmpfs none rw\n"
        "nonsense\n"
        "38 36 0:5 / /short rw - tmpfs\n"
    )
    first, second = mountinfo.mounts(str(path))
    assert (first.id, first.parent, first.root, first.mount_point) == (36, 35, "/a b", "/mnt\tx")
    assert first.optional == ("shared:1", "master:2") and first.source == "/dev/root#" and first.fs_type == "ext3"
    assert second.mount_point == "/back\\040" and second.optional == ()


def test_our_own_mounts_are_readable() -> None:
    assert any(m.mount_point == "/proc" and m.fs_type == "proc" for m in mountinfo.mounts())


# -- the hot path -----------------------------------------------------------------------------------------------------------


def test_nothing_heavy_is_imported() -> None:
    names = "process userns cgroup mountinfo subids lsm native"
    code = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT / 'src')!r}); import os; before = set(sys.modules)\n"
        f"for name in {names.split()!r}: __import__('wherry.kernel.' + name)\n"
        "__import__('wherry.kernel.process').kernel.process.kill(os.getpid(), 1)\n"
        "print(*sorted(m for m in set(sys.modules) - before if not m.startswith('wherry')))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["__future__"]
