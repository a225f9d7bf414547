"""Binds, tmpfs, read-only: every mode, and what is left on the host afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support import leaks
from support.engine import Wherry
from wherry.kernel import mountinfo


def shell(w: Wherry, *words: str | Path, script: str) -> str:
    return w.ok("run", "--rm", *words, "busybox", "sh", "-c", script)


def test_bind(w: Wherry) -> None:
    folder = w.folder("bind")
    (folder / "in").write_text("from the host")
    assert shell(w, "-v", f"{folder}:/data", script="cat /data/in; echo from inside > /data/out") == "from the host"
    assert (folder / "out").read_text() == "from inside\n"
    found = os.stat(folder / "out")
    # docker's ownership on disk: the container's root is the caller
    assert (found.st_uid, found.st_gid) == (w.user.uid, w.user.gid)


def test_bind_as_another_user_of_the_container(w: Wherry) -> None:
    if w.single_id:
        pytest.skip("nosubids: one id is all there is")
    folder = w.folder("bind")
    folder.chmod(0o777)
    shell(w, "-u", "1000:1000", "-v", f"{folder}:/data", script="echo x > /data/out")
    uid = os.stat(folder / "out").st_uid
    assert uid == (1000 if w.is_root else w.user.subids[0] + 999)  # type: ignore[index]


@pytest.mark.parametrize("form", ["-v", "--mount"])
def test_read_only_bind(w: Wherry, form: str) -> None:
    folder = w.folder("ro")
    words = ["-v", f"{folder}:/data:ro"] if form == "-v" else ["--mount", f"type=bind,src={folder},dst=/data,readonly"]
    done = w("run", "--rm", *words, "busybox", "touch", "/data/x")
    assert done.returncode == 1 and "Read-only file system" in done.stderr
    assert list(folder.iterdir()) == []


def test_file_bind(w: Wherry) -> None:
    path = w.file("one", "content\n")
    assert shell(w, "-v", f"{path}:/etc/one", script="cat /etc/one; echo more >> /etc/one") == "content"
    assert path.read_text() == "content\nmore\n"


def test_missing_source(w: Wherry) -> None:
    folder = w.folder("base")
    shell(w, "-v", f"{folder}/made/here:/data", script="test -d /data")
    assert (folder / "made/here").is_dir()
    done = w("run", "--rm", "--mount", f"type=bind,src={folder}/nowhere,dst=/data", "busybox", "true")
    assert done.returncode == 125
    assert f"bind source path does not exist: {folder}/nowhere" in done.stderr


def test_relative_source(w: Wherry) -> None:
    folder = w.folder("rel")
    (folder / "x").write_text("here")
    assert w.ok("run", "--rm", "-v", ".:/data", "busybox", "cat", "/data/x", cwd=str(folder)) == "here"
    assert w.ok("run", "--rm", "-v", "./x:/y", "busybox", "cat", "/y", cwd=str(folder)) == "here"


def test_directory_over_a_file_says_so(w: Wherry) -> None:
    done = w("run", "--rm", "-v", f"{w.folder('dir')}:/etc/passwd", "busybox", "true")
    assert done.returncode in (125, 126, 127)
    assert "Are you trying to mount a directory onto a file (or vice-versa)?" in done.stderr


def test_mount_over_a_symbolic_link_stays_inside(w: Wherry) -> None:
    """/bin/x is a link in the image; a link that points outside resolves in the container's root."""
    folder = w.folder("target")
    tree = w.folder("tree")
    w.ok("run", "--name", "ll", "busybox", "ln", "-s", "/../../../../tmp", "/out")
    assert w.ok("run", "--rm", "-v", f"{folder}:/tmp/a", "-v", f"{tree}:/tmp/b", "busybox", "ls", "/tmp").split() == ["a", "b"]


def test_nested_binds_in_any_order(w: Wherry) -> None:
    outer, inner = w.folder("outer"), w.folder("inner")
    (inner / "x").write_text("deep")
    assert shell(w, "-v", f"{inner}:/a/b", "-v", f"{outer}:/a", script="cat /a/b/x") == "deep"


def test_duplicate_target_is_refused(w: Wherry) -> None:
    folder = w.folder("dup")
    done = w("run", "--rm", "-v", f"{folder}:/a", "-v", f"{folder}:/a", "busybox", "true")
    assert done.returncode == 125 and "Duplicate mount point: /a" in done.stderr


def test_overlay_bind_does_not_write_through(w: Wherry) -> None:
    folder = w.folder("o")
    (folder / "x").write_text("old")
    os.chown(folder / "x", w.user.uid, w.user.gid)
    assert shell(w, "-v", f"{folder}:/data:O", script="echo new > /data/x; echo y > /data/y; cat /data/x") == "new"
    assert sorted(p.name for p in folder.iterdir()) == ["x"] and (folder / "x").read_text() == "old"


def test_chowned_bind(w: Wherry) -> None:
    if w.single_id:
        pytest.skip("nosubids: one id is all there is")
    folder = w.folder("u")
    assert shell(w, "-u", "alice", "-v", f"{folder}:/data:U", script="touch /data/x && stat -c %u /data") == "1000"


@pytest.mark.parametrize("mode", ["private", "rprivate", "slave", "rslave", "shared", "rshared"])
def test_propagation_modes(w: Wherry, mode: str) -> None:
    folder = w.folder("prop")
    if mode.endswith(("shared", "slave")):
        below = max(
            (m for m in mountinfo.mounts() if f"{folder}/".startswith(m.mount_point.rstrip("/") + "/")), key=lambda m: len(m.mount_point)
        )
        if not any(word.startswith("shared") for word in below.optional):
            done = w("run", "--rm", "-v", f"{folder}:/data:{mode}", "busybox", "true")
            kind = "shared or slave" if mode.endswith("slave") else "shared"
            assert done.returncode == 125 and w.ids() == [], done
            assert f"path {folder} is mounted on {below.mount_point} but it is not a {kind} mount" in done.stderr
            return
    line = shell(w, "-v", f"{folder}:/data:{mode}", script="grep ' /data ' /proc/self/mountinfo")
    optional = line.split(" - ")[0].split()[6:]
    if mode in ("private", "rprivate"):
        assert not any(word.startswith(("shared", "master")) for word in optional)


@pytest.mark.parametrize("mode", ["slave", "rslave", "shared", "rshared"])
def test_mounts_travel_where_the_host_s_are_shared(w_root: Wherry, mode: str) -> None:
    w, folder = w_root, w_root.folder("shared")
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "--make-shared", folder], check=True)
        (folder / "mnt").mkdir()
        w.ok("run", "-d", "--name", "cx", "-v", f"{folder}:/data:{mode}", "busybox", "sleep", "1000")
        subprocess.run(["mount", "-t", "tmpfs", "wherry-test", folder / "mnt"], check=True)
        try:
            (folder / "mnt/x").touch()
            assert w.ok("exec", "cx", "ls", "/data/mnt") == "x"
        finally:
            subprocess.run(["umount", folder / "mnt"], check=True)
    finally:
        w("rm", "-f", "cx")
        subprocess.run(["umount", "-l", folder], check=True)


def test_mounts_of_the_host_below_a_bind(w_root: Wherry) -> None:
    """A recursive bind shows them, read-only when it is; bind-recursive=disabled does not."""
    w, folder = w_root, w_root.folder("sub")
    (folder / "mnt").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "wherry-test", str(folder / "mnt")], check=True)
    try:
        (folder / "mnt/x").write_text("below")
        assert shell(w, "-v", f"{folder}:/data", script="cat /data/mnt/x") == "below"
        done = w("run", "--rm", "-v", f"{folder}:/data:ro", "busybox", "touch", "/data/mnt/y")
        assert done.returncode == 1 and "Read-only" in done.stderr
        script = "ls /data/mnt | wc -l"
        assert shell(w, "--mount", f"type=bind,src={folder},dst=/data,bind-recursive=disabled", script=script) == "0"
        shell(w, "--mount", f"type=bind,src={folder},dst=/data,readonly,bind-recursive=writable", script="touch /data/mnt/z")
    finally:
        subprocess.run(["umount", str(folder / "mnt")], check=True)


def test_tmpfs(w: Wherry) -> None:
    line = shell(w, "--tmpfs", "/scratch", script="echo x > /scratch/x; grep ' /scratch ' /proc/mounts")
    options = line.split()[3].split(",")
    assert {"rw", "nosuid", "nodev", "noexec"} <= set(options)
    line = shell(w, "--tmpfs", "/scratch:rw,exec,size=64k,mode=0700", script="grep ' /scratch ' /proc/mounts; stat -c %a /scratch")
    assert "size=64k" in line and "noexec" not in line and line.endswith("700")
    line = shell(
        w, "--mount", "type=tmpfs,dst=/scratch,tmpfs-size=1m,tmpfs-mode=1770", script="grep ' /scratch ' /proc/mounts; stat -c %a /scratch"
    )
    assert "size=1024k" in line and line.endswith("1770")


def test_read_only_root(w: Wherry) -> None:
    done = w("run", "--rm", "--read-only", "busybox", "touch", "/x")
    assert done.returncode == 1 and "Read-only file system" in done.stderr
    assert shell(w, "--read-only", "--tmpfs", "/tmp", script="echo fine > /tmp/x; cat /tmp/x; echo > /dev/null") == "fine"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("type=bind,dst=/x", "source"),
        ("type=bind,src=/tmp", "target"),
        ("type=bind,src=/tmp,dst=relative", "absolute"),
        ("type=nosuch,src=/tmp,dst=/x", "nosuch"),
        ("type=bind,src=/tmp,dst=/x,frobnicate=1", "frobnicate"),
        ("type=tmpfs,dst=/x,tmpfs-mode=9", "9"),
    ],
)
def test_malformed_mounts_are_refused(w: Wherry, spec: str, text: str) -> None:
    done = w("run", "--rm", "--mount", spec, "busybox", "true")
    assert done.returncode == 125
    assert text in done.stderr.lower() and "Traceback" not in done.stderr


def test_mounts_in_inspect(w: Wherry) -> None:
    folder = w.folder("i")
    w.ok("create", "--name", "cx", "-v", f"{folder}:/data:ro", "--tmpfs", "/t", "busybox")
    text = "{{range .Mounts}}{{.Type}} {{.Source}} {{.Destination}} {{.RW}};{{end}}"
    assert f"bind {folder} /data false;" in w.ok("inspect", "-f", text, "cx")


def test_host_sees_no_mount_of_a_running_container(w: Wherry) -> None:
    before = leaks.host_mounts(w)
    w.ok("run", "-d", "-v", f"{w.folder('v')}:/data", "--tmpfs", "/t", "busybox", "sleep", "100")
    assert leaks.host_mounts(w) == before
