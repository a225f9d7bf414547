"""A file system that loses power: ext4 on a loop device, shut down so that nothing more reaches the disk.

FS_IOC_SHUTDOWN with NOLOGFLUSH is what the kernel's own file system tests use for it: whatever was not on the platter at that
instant is gone, and the next mount replays the journal as after a real power cut.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
_NOLOGFLUSH = (2).to_bytes(4, "little")


class CannotMount(Exception):
    """This machine has no loop devices or no ext4 for us; says why."""


class Disk:
    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.image, self.mountpoint = folder / "disk.img", folder / "disk"
        self.mountpoint.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(size_bytes)
        self._run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", str(self.image))
        self._mounted = False

    def mount(self) -> None:
        # commit=60: the journal isn't written behind our back every five seconds, so that a missing fsync shows
        self._run("mount", "-o", "loop,commit=60", str(self.image), str(self.mountpoint))
        self._mounted = True

    def cut(self) -> None:
        """Nothing written from now on reaches the disk."""
        fd = os.open(self.mountpoint, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _NOLOGFLUSH)
        finally:
            os.close(fd)

    def unmount(self) -> None:
        if not self._mounted:
            return
        for _ in range(200):
            done = subprocess.run(["umount", str(self.mountpoint)], capture_output=True, text=True)
            if done.returncode == 0:
                self._mounted = False
                return self._wait_for_its_end()
            time.sleep(0.05)
        raise AssertionError(f"{self.mountpoint} can't be unmounted: {done.stderr}")

    def _wait_for_its_end(self) -> None:
        """A mount namespace that is just ending may hold the file system a little longer; mounted again it would be the same one."""
        for _ in range(200):
            if not subprocess.run(["losetup", "-j", str(self.image)], capture_output=True, text=True).stdout:
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.image} is still in use")

    @staticmethod
    def _run(*words: str) -> None:
        try:
            done = subprocess.run(words, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise CannotMount(f"{words[0]} is not installed") from error
        if done.returncode:
            raise CannotMount(f"{words[0]}: {done.stderr.strip()}")


def end_processes(words: str) -> None:
    """End every process that has `words` in its command line, control group or environment, as losing power does."""
    for _ in range(5):
        found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid != os.getpid() and _has(pid, words)]
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def _has(pid: int, words: str) -> bool:
    for name in ("cmdline", "environ"):
        try:
            if words.encode() in Path(f"/proc/{pid}/{name}").read_bytes():
                return True
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM):
                raise
    return False
