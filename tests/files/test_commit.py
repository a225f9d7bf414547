"""`diff`, `export` and `commit`: what a container wrote, seen from outside, as a tar and as an image."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest

from support.engine import Wherry

WORK = """
mkdir /new /tmp/x
echo hi > /new/file
ln /new/file /new/hard
ln -s file /new/link
touch -d '2001-02-03 04:05:06' /new/file
chmod 4755 /new/file
rm /etc/passwd
rm -r /root && mkdir -m 700 /root
echo more >> /etc/group
"""


@pytest.fixture
def worked(w: Wherry) -> Wherry:
    """A container `work` that has done WORK and ended."""
    w.ok("run", "--network", "none", "--name", "work", "busybox", "sh", "-c", WORK)
    return w


def sh(w: Wherry, image: str, text: str) -> str:
    return w.ok("run", "--rm", "--network", "none", image, "sh", "-c", text)


def test_diff_shows_what_the_container_did_and_nothing_of_ours(worked: Wherry) -> None:
    assert worked.ok("diff", "work").splitlines() == [
        "C /etc",
        "C /etc/group",
        "D /etc/passwd",
        "A /new",
        "A /new/file",
        "A /new/hard",
        "A /new/link",
        "C /root",
        "C /tmp",
        "A /tmp/x",
    ]
    lists = json.loads(worked.ok("diff", "--format", "json", "work"))
    assert lists["deleted"] == ["/etc/passwd"]
    worked.ok("create", "--network", "none", "--name", "untouched", "busybox", "true")
    worked.ok("start", "untouched")
    worked.ok("wait", "untouched")
    assert worked.ok("diff", "untouched") == ""


def test_export_is_what_the_container_sees(worked: Wherry) -> None:
    done = worked("export", "work", text=False)
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        members = {m.name.rstrip("/"): m for m in tar}
    assert "etc/passwd" not in members
    assert not [name for name in members if "/.wh." in name]
    assert members["new/file"].mode == 0o4755
    assert members["new/file"].mtime == 981173106
    assert members["new/hard"].islnk() and members["new/hard"].linkname == "new/file"
    assert members["new/link"].issym() and members["new/link"].linkname == "file"
    target = worked.folder("export") / "c.tar"
    worked.ok("export", "-o", target, "work")
    assert target.read_bytes() == done.stdout


def test_export_to_a_full_device_says_so_and_leaves_nothing(worked: Wherry) -> None:
    with open("/dev/full", "wb") as full:
        done = worked("export", "work", stdout=full)
    assert done.returncode == 1
    assert "no space left" in done.stderr.lower()
    target = worked.folder("export") / "no" / "c.tar"
    assert worked("export", "-o", target, "work").returncode == 1


def test_commit_makes_an_image_of_it(worked: Wherry) -> None:
    w = worked
    words = ["-a", "me <me@example.com>", "-m", "a message", "-c", "ENV A=b", "-c", 'CMD ["cat", "/new/file"]', "-c", "LABEL x=y"]
    iid = w.folder("iid") / "id"
    image_id = w.ok("commit", *words, "--iidfile", iid, "work", "made:1")
    assert image_id.startswith("sha256:") and iid.read_text() == image_id
    document = json.loads(w.ok("inspect", "made:1"))[0]
    assert document["Id"] == image_id
    assert document["Author"] == "me <me@example.com>" and document["Comment"] == "a message"
    assert document["Config"]["Env"][-1] == "A=b" and document["Config"]["Labels"] == {"x": "y"}
    assert w.ok("run", "--rm", "--network", "none", "made:1") == "hi"
    seen = sh(w, "made:1", "ls /etc/passwd; stat -c '%a %Y %h' /new/file; readlink /new/link; tail -n1 /etc/group; ls -a /root 2>&1; true")
    assert [line for line in seen.splitlines() if "No such file" not in line] == ["4755 981173106 2", "file", "more", ".", ".."]
    assert w.check() == ""
    w.ok("rmi", "made:1")


def test_commit_keeps_the_settings_of_the_container_and_takes_the_changes(w: Wherry) -> None:
    w.ok(
        "create",
        "--network",
        "none",
        "--name",
        "work",
        "-e",
        "ONE=1",
        "-u",
        "5",
        "-w",
        "/tmp",
        "-l",
        "a=1",
        "--entrypoint",
        "ls",
        "busybox",
        "-d",
    )
    w.ok("commit", "-c", "ENV TWO=2", "-c", "LABEL b=2", "-c", "EXPOSE 80", "-c", "STOPSIGNAL INT", "work", "made:2")
    config = json.loads(w.ok("inspect", "made:2"))[0]["Config"]
    assert {"ONE=1", "TWO=2"} <= set(config["Env"])
    assert config["User"] == "5" and config["WorkingDir"] == "/tmp" and config["Entrypoint"] == ["ls"] and config["Cmd"] == ["-d"]
    assert config["Labels"] == {"a": "1", "b": "2"} and config["ExposedPorts"] == {"80/tcp": {}} and config["StopSignal"] == "INT"
    done = w("commit", "-c", "FROM x", "work")
    assert done.returncode == 1 and "FROM is not a valid change command" in done.stderr
    done = w("commit", "work", "Bad Name")
    assert done.returncode == 1 and "invalid reference format" in done.stderr
    done = w("commit", "nobody")
    assert done.returncode == 1 and "No such container: nobody" in done.stderr
    w.ok("rmi", "made:2")


def test_commit_squash_has_one_layer_and_the_same_files(worked: Wherry) -> None:
    w = worked
    w.ok("commit", "work", "plain:1")
    w.ok("commit", "--squash", "work", "flat:1")
    count = "{{len .RootFS.Layers}}"
    assert w.ok("inspect", "-f", count, "flat:1") == "1" and w.ok("inspect", "-f", count, "plain:1") == "2"
    look = "find / -xdev -path /dev -prune -o -path /proc -prune -o -path /sys -prune -o -path /etc/host\\* -prune -o -type f -print | sort | xargs sha256sum"
    assert sh(w, "flat:1", look) == sh(w, "plain:1", look)
    w.ok("rmi", "flat:1", "plain:1")


def test_commit_of_a_running_container(w: Wherry) -> None:
    w.ok("run", "-d", "--network", "none", "--name", "work", "busybox", "sh", "-c", "echo now > /file; exec sleep 60")
    w.until(lambda: "A /file" in w.ok("diff", "work"))
    done = w("commit", "work", "made:3")
    assert done.returncode == 0, done.stderr
    assert w.state("work") == "running"
    assert sh(w, "made:3", "cat /file") == "now"
    w.ok("commit", "--pause=false", "work")
    w.ok("rmi", "made:3")
    w.ok("image", "prune", "-f")


def test_pushed_layer_keeps_all_that_a_file_is(w_root: Wherry) -> None:
    """Attributes, capabilities, times in nanoseconds, owners, links, special files: through commit, save, load."""
    w = w_root
    w.ok(
        "run",
        "--network",
        "none",
        "--name",
        "work",
        "busybox",
        "sh",
        "-c",
        "mkdir /d; echo x > /d/f; ln /d/f /d/g; mkfifo -m 640 /d/p; chown 70:80 /d/f",
    )
    upper = next((w.root / "containers").glob("*/over/upper/d"))
    os.setxattr(upper / "f", "user.mark", b"here")
    os.setxattr(upper / "f", "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))
    os.utime(upper / "f", ns=(1577934245_123456789, 1577934245_123456789))
    before = _listing(upper)
    w.ok("commit", "work", "made:4")
    archive = w.folder("archive") / "a.tar"
    w.ok("save", "--format", "oci-archive", "-o", archive, "made:4")
    w.ok("rm", "work")
    w.ok("rmi", "made:4")
    w.ok("load", "-i", archive)
    (tree,) = [p for p in (w.root / "layers").glob("*/d") if (p / "p").exists()]
    assert _listing(tree) == before
    w.ok("rmi", "made:4")


def _listing(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        s = path.lstat()
        names = {n: os.getxattr(path, n) for n in os.listxattr(path)} if path.is_file() else {}
        found[path.name] = (s.st_mode, s.st_uid, s.st_gid, s.st_size, s.st_nlink, s.st_mtime_ns, names)
    return found
