"""`Wherry`: the installed command, as one user, on a store of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from .place import SLOW
from .terminal import Terminal
from .users import User

TIMEOUT_S = 60.0 * SLOW


class Wherry:
    """Call it with the words of a command line: `w("run", "--rm", "busybox", "true")` gives a CompletedProcess (text)."""

    def __init__(self, command: Path, user: User, base: Path, label: str) -> None:
        self.command, self.user, self.base, self.label = command, user, base, label
        self.root, self.runroot = base / "store", base / "run"
        self.seen: set[str] = set()  # ids of all containers there ever were, as far as `forget_all` saw them
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(user.home if user.uid else base),
            "USER": user.name,
            "LOGNAME": user.name,
            "LANG": "C.UTF-8",
            "TERM": "xterm",
        }
        if os.geteuid() and "XDG_RUNTIME_DIR" in os.environ:  # we are in a session of the user's own
            self.env["XDG_RUNTIME_DIR"] = os.environ["XDG_RUNTIME_DIR"]

    @property
    def is_root(self) -> bool:
        return self.user.uid == 0

    @property
    def single_id(self) -> bool:
        return self.user.uid != 0 and self.user.subids is None

    def words(self, *args: str | Path) -> list[str]:
        return [str(self.command), "--root", str(self.root), "--runroot", str(self.runroot), *map(str, args)]

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """The keywords of a Popen that make it run as the user, in his home, with his environment."""
        env = dict(self.env)
        for name, value in (options.pop("env", None) or {}).items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = value
        found: dict[str, Any] = {"env": env, "cwd": str(self.base), **options}
        if os.geteuid() == 0 and self.user.uid != 0:
            found.update(user=self.user.uid, group=self.user.gid, extra_groups=[])
        return found

    def __call__(self, *args: str | Path, timeout: float = TIMEOUT_S, **options: Any) -> subprocess.CompletedProcess[Any]:
        options.setdefault("text", True)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.run(self.words(*args), timeout=timeout, **self.options(options))

    def ok(self, *args: str | Path, **options: Any) -> str:
        """The standard output of a command that must succeed and say nothing on standard error, blanks at the ends cut."""
        done = self(*args, **options)
        assert done.returncode == 0, (
            f"{self.label}: wherry {' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return str(done.stdout).strip()

    def popen(self, *args: str | Path, **options: Any) -> subprocess.Popen[Any]:
        for stream in ("stdin", "stdout", "stderr"):
            options.setdefault(stream, subprocess.PIPE)
        return subprocess.Popen(self.words(*args), **self.options(options))

    def terminal(self, *args: str | Path, rows: int = 24, columns: int = 80) -> Terminal:
        return Terminal(self.words(*args), self.options({}), rows, columns)

    def host(self, *argv: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Another program of the machine, as the same user."""
        return subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=TIMEOUT_S, **self.options(options))

    def folder(self, name: str) -> Path:
        """A new empty folder of the user's own, on the disk where the store is."""
        for number in range(1000):
            path = self.base / f"{name}-{number}"
            if not path.exists():
                path.mkdir(mode=0o755)
                os.chown(path, self.user.uid, self.user.gid)
                return path
        raise RuntimeError(f"too many folders called {name}")

    def file(self, name: str, content: str | bytes = "") -> Path:
        path = self.folder("files") / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.chown(path, self.user.uid, self.user.gid)
        return path

    def ids(self) -> list[str]:
        return self.ok("ps", "-aq", "--no-trunc").split()

    def state(self, name: str) -> str:
        return self.ok("inspect", "-f", "{{.State.Status}}", name)

    def until(self, what: Any, timeout_s: float = 10.0) -> Any:
        """Wait for `what()` to be true and return it; fails after `timeout_s` seconds."""
        end = time.monotonic() + timeout_s * SLOW
        while True:
            found = what()
            if found:
                return found
            if time.monotonic() > end:
                raise AssertionError(f"{self.label}: waited {timeout_s} s in vain")
            time.sleep(0.02)

    def until_state(self, name: str, state: str, timeout_s: float = 10.0) -> None:
        self.until(lambda: self.state(name) == state, timeout_s)

    def forget_all(self) -> None:
        ids = self.ids()
        self.seen.update(ids)
        if ids:
            self.ok("rm", "-f", *ids)
        if any((self.root / "volumes").iterdir()):
            self.ok("volume", "prune", "-af")

    def check(self) -> str:
        """What `system check` finds; empty on a healthy store."""
        done = self("system", "check")
        return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}"


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
