"""Another host: a network namespace of the test's own, joined to this one by a pair of devices. Removed whatever happens."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path


def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=check, timeout=20)


class Outside:
    """`here` is this host's address on the way to it, `there` its own: out of TEST-NET-2, by the process's number."""

    def __init__(self) -> None:
        number = os.getpid() % 60
        self.name = f"wt{os.getpid()}"
        self.here, self.there = f"198.51.100.{number * 4 + 1}", f"198.51.100.{number * 4 + 2}"
        self.here6, self.there6 = f"fd51:{number:x}::1", f"fd51:{number:x}::2"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Outside:
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "addr", "add", f"{self.here}/30", "dev", self.name)
        run("ip", "addr", "add", f"{self.here6}/64", "dev", self.name, "nodad")
        run("ip", "link", "set", self.name, "up")
        for words in (("addr", "add", f"{self.there}/30", "dev", "eth0"), ("addr", "add", f"{self.there6}/64", "dev", "eth0", "nodad"),
                      ("link", "set", "eth0", "up"), ("link", "set", "lo", "up"),
                      ("route", "add", "default", "via", self.here), ("-6", "route", "add", "default", "via", self.here6)):  # fmt: skip
            self.inside("ip", *words)
        return self

    def inside(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run("ip", "netns", "exec", self.name, *words, check=check)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._processes.append(process)
        return process

    def get(self, url: str) -> str:
        return self.inside("curl", "-sS", "--max-time", "5", url).stdout

    def __exit__(self, *_error: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        run("ip", "link", "del", self.name, check=False)
        run("ip", "netns", "del", self.name, check=False)


def until_served(outside: Outside, port: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if f":{port} " in outside.inside("ss", "-tln", check=False).stdout:
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens at {port}")


def links(beginning: str) -> list[str]:
    return [name for name in os.listdir("/sys/class/net") if name.startswith(beginning)]


def has(program: str) -> bool:
    return any(Path(folder, program).exists() for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"))
