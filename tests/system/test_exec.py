"""`exec`: a second process in a running container."""

from __future__ import annotations

import subprocess

import pytest

from support.engine import Wherry


@pytest.fixture
def c(w: Wherry) -> str:
    w.ok("run", "-d", "--name", "cc", "-e", "FROM_RUN=1", "-w", "/tmp", "busybox", "sleep", "1000")
    return "cc"


def test_exit_codes(w: Wherry, c: str) -> None:
    assert w("exec", c, "true").returncode == 0
    assert w("exec", c, "sh", "-c", "exit 5").returncode == 5
    assert w("exec", c, "sh", "-c", "kill -9 $$").returncode == 137


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["nosuchprogram"], 127, "executable file not found in $PATH"),
        (["/no/such/program"], 127, "no such file or directory"),
        (["/bin/not-executable"], 126, "permission denied"),
    ],
)
def test_command_that_cannot_be_executed(w: Wherry, c: str, words: list[str], code: int, text: str) -> None:
    done = w("exec", c, *words)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert w.state(c) == "running"


def test_streams(w: Wherry, c: str) -> None:
    done = w("exec", c, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert w.ok("exec", "-i", c, "cat", input="hello") == "hello"
    assert w.ok("exec", c, "cat", input="lost") == ""


def test_it_is_in_the_container(w: Wherry, c: str) -> None:
    names = "user mnt pid ipc uts net cgroup"
    script = f"for n in {names}; do readlink /proc/self/ns/$n; done; readlink /proc/self/root"
    init = f"for n in {names}; do readlink /proc/1/ns/$n; done; readlink /proc/self/root"
    assert w.ok("exec", c, "sh", "-c", script) == w.ok("exec", c, "sh", "-c", init)
    assert "sleep 1000" in w.ok("exec", c, "ps")


def test_environment_user_and_folder(w: Wherry, c: str) -> None:
    found = w.ok("exec", "-e", "MINE=2", c, "env").splitlines()
    assert {"FROM_RUN=1", "MINE=2", "HOME=/root"} <= set(found)
    assert w.ok("exec", c, "pwd") == "/tmp"
    assert w.ok("exec", "-w", "/etc", c, "pwd") == "/etc"
    path = w.file("env", "FILED=3\n")
    assert "FILED=3" in w.ok("exec", "--env-file", path, c, "env")
    assert w.ok("exec", "-u", "alice", c, "sh", "-c", "echo $HOME") == "/home/alice"
    if not w.single_id:
        assert w.ok("exec", "-u", "alice", c, "id", "-un") == "alice"
        assert w.ok("exec", "-u", "1001:50", c, "id", "-g") == "50"


def test_capabilities_are_the_container_s(w: Wherry, c: str) -> None:
    script = "grep CapEff /proc/self/status; grep ^Seccomp: /proc/self/status"
    assert w.ok("exec", c, "sh", "-c", script) == w.ok("exec", c, "sh", "-c", script.replace("self", "1"))
    assert int(w.ok("exec", "--privileged", c, "sh", "-c", "grep CapEff /proc/self/status").split()[1], 16) & (1 << 21)


def test_detached(w: Wherry, c: str) -> None:
    done = w("exec", "-d", c, "sh", "-c", "sleep 0.3; touch /tmp/done")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    w.until(lambda: w("exec", c, "test", "-e", "/tmp/done").returncode == 0)


def test_much_goes_through(w: Wherry, c: str) -> None:
    data = bytes(range(256)) * 40000
    done = w("exec", "-i", c, "cat", input=data, text=False)
    assert done.returncode == 0 and done.stdout == data


def test_not_running(w: Wherry) -> None:
    ident = w.ok("create", "--name", "still", "busybox", "true")
    done = w("exec", "still", "true")
    assert done.returncode == 1
    assert f"container {ident} is not running" in done.stderr
    done = w("exec", "nobody", "true")
    assert done.returncode == 1 and "No such container: nobody" in done.stderr


def test_container_s_end_ends_the_exec(w: Wherry, c: str) -> None:
    run = w.popen("exec", c, "sh", "-c", "echo ready; exec sleep 1000", stdin=subprocess.DEVNULL)
    assert run.stdout.readline() == b"ready\n"
    w.ok("kill", c)
    assert run.wait(10) == 137
    run.communicate()


def test_killed_client_leaves_the_container_alone(w: Wherry, c: str) -> None:
    run = w.popen("exec", c, "sh", "-c", "echo ready; sleep 1000")
    assert run.stdout.readline() == b"ready\n"
    run.kill()
    run.communicate()
    assert w.state(c) == "running"
    assert w.ok("exec", c, "echo", "fine") == "fine"


def test_many_at_once(w: Wherry, c: str) -> None:
    runs = [w.popen("exec", c, "sh", "-c", f"sleep 0.1; echo {i}; exit {i}") for i in range(12)]
    for i, run in enumerate(runs):
        out, err = run.communicate(timeout=30)
        assert (run.returncode, out) == (i, b"%d\n" % i), err


def test_exec_ids_are_in_inspect_while_it_runs(w: Wherry, c: str) -> None:
    run = w.popen("exec", c, "sh", "-c", "echo ready; sleep 1000")
    run.stdout.readline()
    assert "[" in w.ok("inspect", "-f", "{{json .ExecIDs}}", c)
    w.ok("kill", c)
    run.communicate()
