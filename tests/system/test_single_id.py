"""A user with one id: package managers work all the same."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from support.engine import Wherry
from support.place import SOAK

TOLD = "/etc/apt/apt.conf.d/99-wherry-one-id"


def image_with(w: Wherry, rootfs: Path, name: str, *members: tuple[str, str, str]) -> None:
    """The tests' root file system and (path, kind, link or text) more."""
    path = w.folder("tar") / "root.tar"
    shutil.copy(rootfs, path)
    with tarfile.open(path, "a") as tar:
        for member, kind, text in members:
            info = tarfile.TarInfo(member)
            info.type, info.mode = {"folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "file": tarfile.REGTYPE}[kind], 0o755
            info.linkname, info.size = (text, 0) if kind == "link" else ("", len(text))
            tar.addfile(info, io.BytesIO(text.encode()))
    path.chmod(0o644)
    w.ok("import", path, name)
    path.unlink()


def test_apt_is_told_that_there_is_one_id(w_nosubids: Wherry, rootfs: Path) -> None:
    w = w_nosubids
    image_with(w, rootfs, "apt", ("etc/apt", "folder", ""), ("etc/apt/apt.conf.d", "folder", ""))
    assert 'APT::Sandbox::User "root";' in w.ok("run", "--rm", "apt", "cat", TOLD)
    assert w("run", "--rm", "apt", "sh", "-c", f"echo x > {TOLD}").returncode != 0
    # what the user binds there is his: nothing is made in it
    own = w.folder("own")
    assert w.ok("run", "--rm", "-v", f"{own}:/etc/apt/apt.conf.d", "apt", "ls", "/etc/apt/apt.conf.d") == ""
    assert list(own.iterdir()) == []
    w.ok("rmi", "apt")


@pytest.mark.parametrize(
    "member", [("etc/apt", "file", "x"), ("etc/apt", "link", "/none"), ("etc/apt", "link", "apt"), (TOLD[1:], "folder", "")]
)
def test_whatever_is_in_its_place_the_container_starts(w_nosubids: Wherry, rootfs: Path, member: tuple[str, str, str]) -> None:
    image_with(w_nosubids, rootfs, "odd", member)
    assert w_nosubids.ok("run", "--rm", "odd", "sh", "-c", "cat /etc/apt/apt.conf.d/* 2>/dev/null; echo here") == "here"
    w_nosubids.ok("rmi", "odd")


def test_nothing_is_made_where_there_is_no_apt_and_nothing_for_others(w: Wherry, rootfs: Path) -> None:
    assert w("run", "--rm", "busybox", "test", "-e", "/etc/apt").returncode == 1
    if not w.single_id:
        image_with(w, rootfs, "apt", ("etc/apt", "folder", ""), ("etc/apt/apt.conf.d", "folder", ""))
        assert w("run", "--rm", "apt", "test", "-e", TOLD).returncode == 1
        w.ok("rmi", "apt")


@pytest.mark.skipif(not SOAK, reason="a soak: set WHERRY_SOAK")
@pytest.mark.soak
def test_apt_get_install(w_nosubids: Wherry) -> None:
    """Packages that make users, change owners, give set-user-id bits and devices."""
    w = w_nosubids
    if not shutil.which("mmdebstrap"):
        pytest.skip("no mmdebstrap here (Debian: apt-get install mmdebstrap)")
    path = w.folder("debian") / "root.tar"
    made = subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", "bookworm", path], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no Debian to be had: {made.stderr.strip()[-300:]}")
    path.chmod(0o644)
    w.ok("import", path, "debian-for-apt", timeout=300)
    path.unlink()
    script = """export DEBIAN_FRONTEND=noninteractive; set -e
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends dbus openssh-client man-db postfix
    apt-get remove -y -qq man-db"""
    done = w("run", "--name", "apt", "--network", "host", "debian-for-apt", "sh", "-c", script, timeout=600)
    assert done.returncode == 0, done
    assert "Permission denied" not in done.stderr
    w.ok("rm", "apt")
    w.ok("rmi", "debian-for-apt")
