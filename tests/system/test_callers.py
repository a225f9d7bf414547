"""Nothing of the caller leaks in, whoever the caller is: a shell with odd settings, nohup, cron, ssh without a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.engine import Wherry


def test_umask(w: Wherry) -> None:
    for mask in (0o077, 0o000, 0o777):
        out = w.ok("run", "--rm", "busybox", "sh", "-c", "umask; touch /x; stat -c %a /x", preexec_fn=lambda m=mask: os.umask(m))
        assert out.split() == ["0022", "644"]


def test_umask_of_the_caller_spares_the_store(w: Wherry) -> None:
    ident = w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "100", preexec_fn=lambda: os.umask(0o000))
    for path in (w.root, w.runroot, w.root / "containers" / ident):
        assert not path.stat().st_mode & 0o002, path


def test_ignored_and_blocked_signals(w: Wherry) -> None:
    def odd() -> None:
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD})

    out = w.ok("run", "--rm", "busybox", "grep", "-E", "Sig(Ign|Blk)", "/proc/self/status", preexec_fn=odd)
    assert [line.split()[1] for line in out.splitlines()] == ["0" * 16, "0" * 16]
    w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "100", preexec_fn=odd)
    assert w.ok("exec", "cx", "grep", "-E", "Sig(Ign|Blk)", "/proc/self/status", preexec_fn=odd).split()[1::2] == ["0" * 16] * 2
    w.ok("stop", "-t", "1", "cx")


def test_descriptors(w: Wherry) -> None:
    folder = w.folder("fd")
    fds = [os.open(folder, os.O_RDONLY) for _ in range(5)]
    try:
        out = w.ok("run", "--rm", "busybox", "ls", "/proc/self/fd", pass_fds=fds)
        assert set(out.split()) <= {"0", "1", "2", "3"}  # 3 is the folder that ls reads
        w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "100", pass_fds=fds)
        assert str(folder) not in w.ok("exec", "cx", "ls", "-l", "/proc/1/fd")
        assert set(w.ok("exec", "cx", "ls", "/proc/self/fd", pass_fds=fds).split()) <= {"0", "1", "2", "3"}
    finally:
        for fd in fds:
            os.close(fd)


def test_monitor_holds_nothing_of_the_caller(w: Wherry) -> None:
    """A pipe that the caller waits on ends when the command ends, not when the container does."""
    done = w.host("sh", "-c", " ".join(w.words("run", "-d", "busybox", "sleep", "100")) + " | cat")
    assert len(done.stdout.strip()) == 64


def test_working_directory_that_is_gone(w: Wherry) -> None:
    folder = w.folder("gone")
    script = f"cd {folder} && rmdir {folder} && exec {' '.join(w.words('run', '--rm', 'busybox', 'pwd'))}"
    done = w.host("sh", "-c", script)
    assert done.stdout == "/\n", done.stderr


def test_monitor_does_not_hold_the_working_directory(w: Wherry) -> None:
    folder = w.folder("cwd")
    ident = w.ok("run", "-d", "busybox", "sleep", "100", cwd=str(folder))
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if ident in Path(f"/proc/{pid}/cmdline").read_text(errors="replace"):
                assert os.readlink(f"/proc/{pid}/cwd") != str(folder)
        except OSError:
            continue


def test_no_environment_at_all(w: Wherry) -> None:
    done = subprocess.run(
        [str(w.command), "--root", str(w.root), "--runroot", str(w.runroot), "run", "--rm", "busybox", "echo", "fine"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        **{**w.options({}), "env": {}},
    )
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.UTF-8", "nonsense"])
def test_locale(w: Wherry, locale: str) -> None:
    w.ok("run", "--name", "cx", "-e", "A=ä", "busybox", "echo", "grüße", env={"LANG": locale, "LC_ALL": locale})
    done = w("logs", "cx", env={"LANG": locale, "LC_ALL": locale}, text=False)
    assert done.stdout.decode() == "grüße\n"
    assert "ä" in w("inspect", "cx", env={"LANG": locale, "LC_ALL": locale}, text=False).stdout.decode()
    assert w("ps", "-a", env={"LC_ALL": locale}, text=False).returncode == 0


def test_words_that_are_not_utf8(w: Wherry) -> None:
    done = subprocess.run(
        [*map(os.fsencode, w.words("run", "--rm", "busybox", "echo")), b"\xff\xfe"], capture_output=True, timeout=30, **w.options({})
    )
    assert b"Traceback" not in done.stderr
    if done.returncode == 0:
        assert done.stdout == b"\xff\xfe\n"


@pytest.mark.parametrize(
    "words", [["ps"], ["images"], ["--help"], ["inspect", "busybox"], ["run", "--rm", "busybox", "echo", "x"], ["info"]]
)
def test_closed_output_is_no_traceback(w: Wherry, words: list[str]) -> None:
    line = " ".join(w.words(*words))
    for closing in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        done = w.host("sh", "-c", f"{line} {closing}")
        assert "Traceback" not in done.stderr and "Exception" not in done.stderr, (closing, done.stderr)


def test_full_output_is_an_error_not_a_traceback(w: Wherry) -> None:
    done = w.host("sh", "-c", f"{' '.join(w.words('info'))} > /dev/full")
    assert done.returncode != 0 and "Traceback" not in done.stderr


def test_nohup_and_setsid(w: Wherry) -> None:
    done = w.host("setsid", "-w", "nohup", *w.words("run", "--rm", "busybox", "echo", "fine"))
    assert "fine" in done.stdout


def test_container_outlives_the_session_of_its_caller(w: Wherry) -> None:
    run = w.popen("run", "-d", "--name", "cx", "busybox", "sleep", "100", start_new_session=True)
    run.communicate(timeout=20)
    try:
        os.killpg(run.pid, signal.SIGHUP)
    except ProcessLookupError:
        pass
    assert w.state("cx") == "running"


def test_niceness_is_not_raised(w: Wherry) -> None:
    out = w.ok("run", "--rm", "busybox", "sh", "-c", "cut -d' ' -f19 /proc/self/stat")
    # root's are as a daemon's would be; nobody else may take back what his caller gave up
    assert out == ("0" if w.is_root else str(os.nice(0)))


def test_interrupted_command_says_nothing_odd(w: Wherry) -> None:
    run = w.popen("run", "--rm", "busybox", "sleep", "1000")
    w.until(lambda: w.ok("ps", "-q"))
    run.send_signal(signal.SIGINT)
    w.ok("kill", *w.ok("ps", "-q").split())
    _, err = run.communicate(timeout=20)
    assert b"Traceback" not in err
    assert run.returncode == 137


def test_nothing_stays_in_the_caller_s_control_group(w_root: Wherry) -> None:
    """systemd ends what a unit or a session leaves in its group; a container that runs on is no leftover."""
    w = w_root
    tops = [
        top for top in map(Path, ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")) if (top / "cgroup.procs").exists()
    ]
    folders = [top / f"wherry-test-{os.urandom(6).hex()}" for top in tops]
    try:
        for folder in folders:
            folder.mkdir()
    except OSError as reason:
        pytest.skip(f"no control group may be made here: {reason}")

    def enter() -> None:
        for folder in folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    try:
        w.ok("run", "-d", "--name", "cx", "busybox", "sleep", "1000", preexec_fn=enter)
        w.ok("exec", "-d", "cx", "sleep", "1000", preexec_fn=enter)
        assert [folder for folder in folders if (folder / "cgroup.procs").read_text()] == []
        w.ok("restart", "-t", "0", "cx", preexec_fn=enter)
        assert w.ok("exec", "cx", "echo", "well", preexec_fn=enter) == "well"
        assert [folder for folder in folders if (folder / "cgroup.procs").read_text()] == []
    finally:
        w("rm", "-f", "cx")
        for folder in folders:
            remove_group(folder)


def remove_group(folder: Path) -> None:
    for _ in range(100):
        try:
            folder.rmdir()
            return
        except OSError:
            time.sleep(0.05)
