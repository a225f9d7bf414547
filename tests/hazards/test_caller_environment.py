"""Callers of every kind: what they have set doesn't get into a container, what they lack doesn't stop one."""

from __future__ import annotations

import ctypes
import fcntl
import os
import pty
import resource
import shutil
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from support.chaos import init_of, monitors
from support.engine import Wherry

_KEYCTL = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine, 0)
_JOIN_SESSION_KEYRING = 1
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
LIBC = ctypes.CDLL(None, use_errno=True)


def with_a_keyring() -> None:
    LIBC.syscall(_KEYCTL, _JOIN_SESSION_KEYRING, b"of the caller")


KEYRING_PROGRAM = r"""
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
    char text[300] = "";
    long key = syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3L /* of the session */, 0);
    if (key > 0 && syscall(SYS_keyctl, 6 /* DESCRIBE */, key, text, sizeof text - 1) > 0)
        puts(text);
    return 0;
}
"""


def test_keyring_of_the_caller_stays_outside(w: Wherry) -> None:
    """The keys of the caller's session would be the container's; it has a session keyring of its own instead, or none."""
    if not _KEYCTL or not shutil.which("cc"):
        pytest.skip("needs a C compiler, and the number of keyctl on this machine")
    source = w.file("keyring.c", KEYRING_PROGRAM)
    program = source.with_suffix("")
    subprocess.run(["cc", "-static", "-o", str(program), str(source)], check=True)
    mount = ("-v", f"{program}:/keyring:ro", "--security-opt", "seccomp=unconfined", "busybox")
    assert w.host(program, preexec_fn=with_a_keyring).stdout.strip().endswith(";of the caller")
    assert "of the caller" not in w.ok("run", "--rm", *mount, "/keyring", preexec_fn=with_a_keyring)
    w.ok("run", "-d", "--name", "box", *mount, "sleep", "1000", preexec_fn=with_a_keyring)
    assert "of the caller" not in w.ok("exec", "box", "/keyring", preexec_fn=with_a_keyring)


@pytest.mark.parametrize("missing", ["HOME", "USER", "PATH", "LANG", "TERM", "LOGNAME", "XDG_RUNTIME_DIR"])
def test_one_variable_is_missing(w: Wherry, missing: str) -> None:
    assert w.ok("run", "--rm", "busybox", "echo", "fine", env={missing: None}) == "fine"


@pytest.mark.parametrize("value", ["", "relative", "/no/such/folder", "/dev/null", "/proc"])
@pytest.mark.parametrize("name", ["HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "TMPDIR", "PATH"])
def test_odd_values(w: Wherry, name: str, value: str) -> None:
    done = w("run", "--rm", "busybox", "echo", "fine", env={name: value})
    assert "Traceback" not in done.stderr
    if not (name == "PATH" and not w.is_root):  # newuidmap is looked up there
        assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "LD_PRELOAD", "LD_LIBRARY_PATH"])
def test_settings_of_the_interpreter_do_not_reach_the_container(w: Wherry, name: str) -> None:
    value = {"PYTHONHOME": None, "LD_PRELOAD": None, "PYTHONINSPECT": None}.get(name, "/nowhere")
    out = w.ok("run", "--rm", "busybox", "env", env={name: value})
    assert name not in out


def test_default_places_without_a_home(w: Wherry) -> None:
    """Cron and systemd units give no HOME: the places come from the account file."""
    done = subprocess.run([str(w.command), "ps"], **{**w.options({}), "env": {}}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stderr == "", done


def test_cron(w: Wherry) -> None:
    """No terminal, no input, a few variables, the folder / or home, output to a pipe."""
    env = {"HOME": str(w.user.home), "LOGNAME": w.user.name, "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    line = " ".join(w.words("run", "--rm", "busybox", "echo", "fine"))
    done = subprocess.run(
        ["sh", "-c", line], **{**w.options({}), "env": env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


def test_systemd_unit(w: Wherry) -> None:
    """Type=notify variables, SIGPIPE ignored, closed input, umask 0077, low limits."""

    def unit() -> None:
        os.umask(0o077)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        os.setsid()
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    env = {"NOTIFY_SOCKET": "/run/systemd/notify", "INVOCATION_ID": "0" * 32, "LISTEN_FDS": "1", "LISTEN_PID": "1"}
    out = w.ok("run", "--rm", "busybox", "sh", "-c", "env; umask; ulimit -n; yes | head -n 1", env=env, preexec_fn=unit)
    assert not {line.split("=")[0] for line in out.splitlines()} & set(env)
    assert out.splitlines()[-3:] == ["0022", "256", "y"]


def test_limits_of_the_caller_are_not_raised(w: Wherry) -> None:
    def low() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 22))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))

    script = "ulimit -Sn; ulimit -Hn; ulimit -Ss; ulimit -Hs"
    assert w.ok("run", "--rm", "busybox", "sh", "-c", script, preexec_fn=low).split() == ["200", "300", "1024", "4096"]
    w.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    assert w.ok("exec", "box", "true", preexec_fn=low) == ""


def test_limit_above_the_caller_s_is_lowered_and_said(w_user: Wherry) -> None:
    def low() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))

    done = w_user("run", "--rm", "--ulimit", "nofile=4000:4000", "busybox", "sh", "-c", "ulimit -Hn", preexec_fn=low)
    assert (done.returncode, done.stdout) == (0, "300\n"), done
    assert "--ulimit nofile is above this user's own hard limit and was lowered to 300" in done.stderr


def test_death_signal_of_the_caller_does_not_end_the_container(w: Wherry) -> None:
    """A caller that runs us with PR_SET_PDEATHSIG dies; its container doesn't."""

    def mortal() -> None:
        LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    ident = w.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000", preexec_fn=mortal)
    time.sleep(0.1)
    assert ident in monitors(w) and init_of(w, ident)


def test_no_new_privileges_of_the_caller(w: Wherry) -> None:
    """An ordinary user's newuidmap can't work then: that is said, or done without it."""

    def strict() -> None:
        LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

    done = w("run", "--rm", "busybox", "echo", "fine", preexec_fn=strict)
    assert "Traceback" not in done.stderr
    assert done.stdout == "fine\n" or "uidmap" in done.stderr, done


def test_dead_terminal(w: Wherry) -> None:
    """The terminal hangs up under a command that waits: it leaves, without a word to anybody, and the store is whole."""
    master, slave = pty.openpty()

    def own() -> None:
        # the tests may run under nohup, the command that is tested doesn't
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    for words in (("run", "-it", "--name", "box", "busybox", "sleep", "1000"), ("attach", "box"), ("logs", "-f", "box")):
        master, slave = pty.openpty()
        command = subprocess.Popen(w.words(*words), stdin=slave, stdout=slave, stderr=slave, **w.options({"preexec_fn": own}))
        os.close(slave)
        w.until(lambda: w("ps", "-q").stdout.strip())
        time.sleep(0.3)
        os.close(master)
        command.wait(timeout=20)
        assert w.check() == ""
        w("start", "box")


def test_commands_on_a_dead_terminal(w: Wherry) -> None:
    """Every write fails with EIO: an exit code, no traceback on the standard error that still works."""
    for words in (["ps"], ["images"], ["info"], ["--help"], ["run", "--rm", "busybox", "echo", "box"]):
        master, slave = pty.openpty()
        os.close(master)
        done = subprocess.run(w.words(*words), stdin=slave, stdout=slave, stderr=subprocess.PIPE, timeout=30, **w.options({}))
        os.close(slave)
        assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr, (words, done.stderr)


@pytest.mark.parametrize("words", [["run", "--rm", "busybox", "yes"], ["exec", "box", "yes"], ["logs", "-f", "box"], ["logs", "box"]])
def test_reader_that_leaves(w: Wherry, words: list[str]) -> None:
    """`… | head -n 1`: the command ends soon, quietly, and takes its container along as docker's does not need to."""
    w.ok(
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; while :; do echo on; sleep 0.05; done",
    )
    w.until(lambda: "line 2000" in w.ok("logs", "box"))
    line = f"{{ {' '.join(w.words(*words))}; echo code $? >&2; }} | head -n 1"
    done = w.host("sh", "-c", line)
    assert done.stdout in ("y\n", "line 1\n"), done
    assert done.stderr.startswith("code "), done.stderr
    assert w.state("box") == "running"


def test_streams_that_are_closed(w: Wherry) -> None:
    """With 0, 1 or 2 closed the engine's own files must not get those numbers."""
    w.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    for closing in ("<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"):
        for words in (
            ("run", "-d", "busybox", "sh", "-c", "echo out; echo err >&2; sleep 1000"),
            ("exec", "box", "sh", "-c", "echo out; echo err >&2"),
        ):
            done = w.host("sh", "-c", f"{' '.join(w.words(*words[:-1]))} '{words[-1]}' {closing}")
            assert "Traceback" not in done.stderr
    assert w.check() == ""
    for ident in w.ok("ps", "-q", "-f", "ancestor=busybox").split():
        out = w.ok("exec", ident, "ls", "-l", "/proc/1/fd")
        assert "wherry.db" not in out and str(w.base) not in out, out
    for path in (w.root / "wherry.db",):
        assert path.read_bytes()[:15] == b"SQLite format 3"


def test_output_of_a_container_goes_to_the_log_when_nobody_reads(w: Wherry) -> None:
    done = w.host(
        "sh", "-c", f"{' '.join(w.words('run', '-d', '--name', 'box', 'busybox', 'sh', '-c'))} 'echo out; echo err >&2' <&- >&- 2>&-"
    )
    assert done.returncode in (0, 1)
    if w("inspect", "box").returncode == 0:
        w.until(lambda: w.state("box") == "exited")
        both = w("logs", "box")
        assert (both.stdout, both.stderr) == ("out\n", "err\n")


def test_timer_of_the_caller(w: Wherry) -> None:
    """An alarm goes through exec: it may end the command, not the container."""

    def alarmed() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.4)

    done = w("run", "--name", "box", "busybox", "sh", "-c", "sleep 0.8; echo fine", preexec_fn=alarmed)
    assert "Traceback" not in done.stderr
    w.until(lambda: w("inspect", "-f", "{{.State.Status}}", "box").stdout.strip() == "exited")
    assert w.ok("logs", "box") == "fine"


def test_what_the_scheduler_knows_of_the_caller(w: Wherry) -> None:
    """Affinity, priority and the OOM killer's score are set back as far as the caller may: a daemon's would be the plain ones."""
    everything = os.sched_getaffinity(0)

    def odd() -> None:
        os.sched_setaffinity(0, {min(everything)})
        os.nice(5)
        if w.is_root:  # after a change of ids the file is root's until the next exec
            Path("/proc/self/oom_score_adj").write_text("300")

    script = "grep Cpus_allowed_list /proc/self/status; cut -d' ' -f19 /proc/self/stat; cat /proc/self/oom_score_adj"
    for words in (("run", "--rm", "busybox"), ("run", "-d", "--name", "box", "busybox"), ("exec", "box")):
        if words[1] == "-d":
            w.ok(*words, "sleep", "1000", preexec_fn=odd)
            continue
        out = w.ok(*words, "sh", "-c", script, preexec_fn=odd).split()
        assert out[1] == Path("/proc/self/status").read_text().split("Cpus_allowed_list:")[1].split()[0]
        assert out[2] == ("0" if w.is_root else str(os.nice(0) + 5))
        assert out[3] == "0"


def test_working_directory_that_may_not_be_entered(w: Wherry) -> None:
    folder = w.folder("closed")
    script = f"cd {folder} && chmod 0 {folder} && {' '.join(w.words('run', '--rm', 'busybox', 'pwd'))}; chmod 755 {folder}"
    done = w.host("sh", "-c", script)
    assert done.stdout == "/\n", done.stderr


def test_files_that_the_caller_maps_as_set_user_id(w: Wherry) -> None:
    """A container's set-user-id file gives nobody on the host anything: the folders above it are closed."""
    ident = w.ok("run", "-d", "--name", "box", "busybox", "sh", "-c", "cp /bin/busybox /suid; chmod 4755 /suid; sleep 1000")
    w.until(lambda: w("exec", "box", "test", "-u", "/suid").returncode == 0)
    path = w.root / "containers" / ident / "over/upper/suid"
    assert path.exists()
    closed = [p for p in path.parents if p.exists() and not p.stat().st_mode & 0o011]
    assert closed, f"everybody can reach {path}"


@pytest.mark.parametrize("content", ["not toml [", "root = 7\n", "unknown_key = 1\n", "\x00\x01"])
def test_configuration_that_is_broken(w: Wherry, content: str) -> None:
    folder = w.folder("config")
    (folder / "wherry").mkdir()
    (folder / "wherry/config.toml").write_text(content)
    os.chown(folder / "wherry", w.user.uid, w.user.gid)
    done = w("ps", env={"XDG_CONFIG_HOME": str(folder)})
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or "config.toml" in done.stderr, done


def test_a_store_that_is_not_ours(w_user: Wherry, tmp_path: Path) -> None:
    """Somebody else's folder as run root, as in /tmp: refused with its name."""
    done = subprocess.run(
        [str(w_user.command), "--root", str(w_user.root), "--runroot", "/usr", "ps"],
        capture_output=True,
        text=True,
        timeout=30,
        **w_user.options({}),
    )
    assert done.returncode != 0 and "/usr" in done.stderr and "Traceback" not in done.stderr
