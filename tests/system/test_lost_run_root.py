"""Somebody deletes the run root (a clean-up of /tmp, a logout): what runs goes on running and is found again."""

from __future__ import annotations

import os
import shutil
import subprocess

from support import leaks
from support.chaos import init_of, monitors
from support.engine import Wherry, kill


def test_containers_are_found_again(w: Wherry) -> None:
    ident = w.ok("run", "-d", "--name", "lives", "busybox", "sh", "-c", "while :; do echo tick; sleep 0.05; done")
    init = init_of(w, ident)
    shutil.rmtree(w.runroot)
    assert w.state("lives") == "running"
    assert init_of(w, ident) == init and list(monitors(w)) == [ident]
    assert w.ok("exec", "lives", "echo", "alive") == "alive"
    assert w.ok("logs", "--tail", "1", "lives") == "tick"
    assert w.check() == ""
    for words in (("stop", "-t", "0"), ("start",), ("restart", "-t", "0"), ("kill",)):
        assert w.ok(*words, "lives") == "lives"
    w.until_state("lives", "exited")


def test_the_dead_leave_nothing(w: Wherry) -> None:
    ident = w.ok("run", "-d", "--name", "dies", "busybox", "sleep", "1000")
    kill(monitors(w)[ident])
    shutil.rmtree(w.runroot)
    assert w.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "dies") == "exited 137"
    w.seen.add(ident)
    assert [path for path in leaks.cgroups(w) if ident in path] == []
    w.ok("start", "dies")
    assert w.state("dies") == "running"


def test_several_commands_find_it_at_once(w: Wherry) -> None:
    ids = [w.ok("run", "-d", "busybox", "sleep", "1000") for _ in range(3)]
    inits = [init_of(w, ident) for ident in ids]
    shutil.rmtree(w.runroot)
    processes = [w.popen("ps", "-q", "--no-trunc", stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and "Traceback" not in err, err
        assert sorted(out.split()) == sorted(ids)
    assert [init_of(w, ident) for ident in ids] == inits
    assert all(os.path.exists(f"/proc/{init}") for init in inits)
