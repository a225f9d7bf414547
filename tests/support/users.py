"""Ordinary users, made for the tests and removed after them: one with subordinate ids, one without."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

from .turns import turn


class User(NamedTuple):
    name: str
    uid: int
    gid: int
    home: Path
    subids: tuple[int, int] | None  # first, count

    @property
    def ranges(self) -> list[range]:
        """Every id that a process of this user's may have."""
        own = [range(self.uid, self.uid + 1)]
        return own + ([range(self.subids[0], self.subids[0] + self.subids[1])] if self.subids else [])


def root() -> User:
    return User("root", 0, 0, Path("/root"), None)


def me() -> User:
    entry = pwd.getpwuid(os.getuid())
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir), subordinate(entry.pw_name))


def subordinate(name: str) -> tuple[int, int] | None:
    try:
        text = Path("/etc/subuid").read_text()
    except FileNotFoundError:
        return None
    found = re.search(rf"^{re.escape(name)}:(\d+):(\d+)$", text, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None


def make(name: str, home: Path, *, subids: bool) -> User:
    """Make the user with `useradd`; ranges of subordinate ids are added or taken away as wanted."""
    # two at once would choose the same range, and useradd refuses while another one holds /etc/passwd
    with turn("users"):
        return _make(name, home, subids)


def _make(name: str, home: Path, subids: bool) -> User:
    words = ["useradd", "--no-create-home", "--home-dir", str(home), "--shell", "/bin/sh", name]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"useradd {name}: {done.stderr}")
    if subids and subordinate(name) is None:
        first = _free_range()
        subprocess.run(
            ["usermod", "--add-subuids", f"{first}-{first + 65535}", "--add-subgids", f"{first}-{first + 65535}", name], check=True
        )
    if not subids:
        for which in ("/etc/subuid", "/etc/subgid"):
            if os.path.exists(which):
                subprocess.run(["sed", "-i", f"/^{name}:/d", which], check=True)
    entry = pwd.getpwnam(name)
    home.mkdir(mode=0o700)
    os.chown(home, entry.pw_uid, entry.pw_gid)
    return User(name, entry.pw_uid, entry.pw_gid, home, subordinate(name) if subids else None)


def remove(user: User) -> None:
    """Remove the user, after ending what still runs under his ids (they are nobody else's)."""
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and any(os.stat(f"/proc/{entry}").st_uid in r for r in user.ranges):
                os.kill(int(entry), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue
    with turn("users"):
        subprocess.run(["userdel", user.name], capture_output=True)


def _free_range() -> int:
    text = "".join(Path(p).read_text() for p in ("/etc/subuid", "/etc/subgid") if os.path.exists(p))
    return max((int(first) + int(count) for _, first, count in re.findall(r"^([^:\n]+):(\d+):(\d+)$", text, re.MULTILINE)), default=100000)
