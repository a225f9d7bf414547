"""A small process that starts commands and times them, as a given user, in a given root.

The bench itself is a large process, whose fork would cost a millisecond more for the peers that run as somebody else. So each
engine has a spawner: forked once, it takes the identity (and the chroot) and then starts every command by posix_spawn.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from typing import Any


class Spawner:
    def __init__(self, env: dict[str, str], cwd: str, uid: int = 0, gid: int = 0, chroot: str = "") -> None:
        ask_r, ask_w = os.pipe()
        say_r, say_w = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                # also the pipes of the spawners before this one, which would never see their end
                for first, last in zip((3, *sorted((ask_r + 1, say_w + 1))), (*sorted((ask_r, say_w)), 4096)):
                    os.closerange(first, last)
                _become(cwd, uid, gid, chroot)
                _serve(os.fdopen(ask_r), os.fdopen(say_w, "w"), env)
            finally:
                os._exit(0)
        os.close(ask_r)
        os.close(say_w)
        self.ask, self.say = os.fdopen(ask_w, "w"), os.fdopen(say_r)

    def __call__(self, words: list[str], *, output: str = "") -> tuple[float, int]:
        """Milliseconds from start to end, and the exit code. `output` names a file for both streams; else they are dropped."""
        return self._request({"commands": [words], "output": output})

    def many(self, commands: list[list[str]], workers: int) -> tuple[float, int]:
        """Milliseconds until all of `commands`, at most `workers` at once, have ended; the worst exit code."""
        return self._request({"commands": commands, "workers": workers, "output": ""})

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it has died already
            self.ask.close()
        os.waitpid(self.pid, 0)

    def _request(self, request: dict[str, Any]) -> tuple[float, int]:
        self.ask.write(json.dumps(request) + "\n")
        self.ask.flush()
        answer = json.loads(self.say.readline())
        return answer["ms"], answer["code"]


def _become(cwd: str, uid: int, gid: int, chroot: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # run.py takes the peers down with our help
        signal.signal(number, signal.SIG_IGN)
    if chroot:
        os.chroot(chroot)
    if uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.chdir(cwd)


LIMIT_S = 120


def _serve(requests: Any, answers: Any, env: dict[str, str]) -> None:
    running: set[int] = set()
    signal.signal(signal.SIGALRM, lambda *_: [os.kill(pid, signal.SIGKILL) for pid in running])  # a peer that hangs
    for line in requests:
        request = json.loads(line)
        waiting, worst = list(request["commands"]), 0
        signal.alarm(LIMIT_S)
        start = time.perf_counter()
        while waiting or running:
            while waiting and len(running) < request.get("workers", 1):
                running.add(_spawn(waiting.pop(0), env, request["output"]))
            pid, status = os.wait()
            running.discard(pid)
            worst = max(worst, os.waitstatus_to_exitcode(status) % 256)
        answers.write(json.dumps({"ms": (time.perf_counter() - start) * 1e3, "code": worst}) + "\n")
        answers.flush()


def _spawn(words: list[str], env: dict[str, str], output: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawnp(
        words[0],
        words,
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, output or "/dev/null", flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM],  # Python ignores the first two
    )
