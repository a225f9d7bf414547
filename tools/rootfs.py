"""rootfs.py FILE.tar: a small root file system out of a static busybox, as a tar archive.

The busybox is the machine's, if it is a static one, or comes out of Debian's package `busybox-static`, fetched as whoever we are.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
alice:x:1000:1000:Alice:/home/alice:/bin/sh
bob:x:1001:1001:Bob:/home/bob:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
tty:x:5:
staff:x:50:alice,bob
alice:x:1000:
bob:x:1001:
wheel:x:998:alice
nogroup:x:65534:
"""
FOLDERS = {
    "bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "home/alice": 0o755, "lib": 0o755, "opt": 0o755, "proc": 0o755, "root": 0o700,
    "run": 0o755, "sbin": 0o755, "sys": 0o755, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755, "var": 0o755, "var/tmp": 0o1777,
}  # fmt: skip


def find_busybox(scratch: str) -> Path:
    for place in ("/bin/busybox", "/usr/bin/busybox", shutil.which("busybox")):
        if place and os.path.exists(place) and is_static(Path(place)):
            return Path(place)
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise SystemExit("no static busybox here: install one (Debian: apt-get install busybox-static; Alpine: apk add busybox-static)")
    done = subprocess.run(["apt-get", "download", "-q", "busybox-static"], cwd=scratch, capture_output=True, text=True)
    packages = list(Path(scratch).glob("busybox-static_*.deb"))
    if done.returncode or not packages:
        raise SystemExit(
            f"no static busybox here, and fetching the package failed: {done.stderr.strip()}\ntry: apt-get update && apt-get install busybox-static"
        )
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), f"{scratch}/x"], check=True)
    return next(p for p in (Path(scratch, "x/bin/busybox"), Path(scratch, "x/usr/bin/busybox")) if p.exists())


def is_static(path: Path) -> bool:
    data = path.read_bytes()[:4096]
    return data[:4] == b"\x7fELF" and b"/ld-linux" not in data and b"/ld-musl" not in data


def write(target: str, busybox: Path) -> None:
    applets = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, mode: int, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", owner: int = 0) -> None:
            member = tarfile.TarInfo(name)
            member.mode, member.type, member.linkname, member.size = mode, kind, link, len(data)
            member.uid = member.gid = owner
            member.mtime = 1735689600
            tar.addfile(member, io.BytesIO(data))

        for name, mode in FOLDERS.items():
            add(name, mode, kind=tarfile.DIRTYPE, owner=1000 if name == "home/alice" else 0)
        add("bin/busybox", 0o755, busybox.read_bytes())
        for applet in applets:
            if applet != "busybox":
                add(f"bin/{applet}", 0o777, kind=tarfile.SYMTYPE, link="busybox")
        add("etc/passwd", 0o644, PASSWD.encode())
        add("etc/group", 0o644, GROUP.encode())
        add("etc/os-release", 0o644, b'NAME="busybox"\nID=busybox\n')
        add("bin/not-executable", 0o644, b"#!/bin/sh\necho no\n")
        add("bin/bad-format", 0o755, b"\x00\x01\x02 not a program\n")
        add("bin/missing-interpreter", 0o755, b"#!/no/such/interpreter\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        write(sys.argv[1], find_busybox(scratch))
