"""Exit codes and error texts of `run`: docker's, as scripts read them."""

from __future__ import annotations

import signal
import subprocess

import pytest

from support.engine import Wherry


@pytest.mark.parametrize("code", [0, 1, 5, 42, 125, 126, 127, 255])
def test_exit_code_is_the_process_s(w: Wherry, code: int) -> None:
    assert w("run", "--rm", "busybox", "sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("name", ["KILL", "TERM", "USR1"])
def test_process_killed_by_a_signal_gives_128_and_its_number(w: Wherry, name: str) -> None:
    # pid 1 of a namespace is deaf to its own signals, hence the second shell
    done = w("run", "--rm", "--init", "busybox", "sh", "-c", f"kill -{name} $$")
    assert done.returncode == 128 + signal.Signals[f"SIG{name}"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["nosuchprogram"], 127, 'exec: "nosuchprogram": executable file not found in $PATH'),
        (["/no/such/program"], 127, 'exec: "/no/such/program": stat /no/such/program: no such file or directory'),
        (["/bin/not-executable"], 126, 'exec: "/bin/not-executable": permission denied'),
        (["/etc"], 126, 'exec: "/etc": is a directory'),
        (["/bin/bad-format"], 126, "exec format error"),
        (["/bin/missing-interpreter"], 127, "no such file or directory"),
    ],
)
def test_command_that_cannot_be_executed(w: Wherry, words: list[str], code: int, text: str) -> None:
    done = w("run", "--rm", "busybox", *words)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert done.stdout == ""


def test_container_that_could_not_start_stays_with_its_code(w: Wherry) -> None:
    assert w("run", "--name", "bad", "busybox", "nosuchprogram").returncode == 127
    assert w.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "bad") == "created 127"


def test_container_that_could_not_start_goes_with_rm(w: Wherry) -> None:
    w("run", "--rm", "--name", "bad", "busybox", "nosuchprogram")
    assert w.ids() == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--no-such-flag", "busybox"], "unknown flag: --no-such-flag"),
        (["-Y", "busybox"], "unknown shorthand flag: 'Y' in -Y"),
        (["--rm", "--restart", "always", "busybox"], "conflicting options: cannot specify both --restart and --rm"),
        (["-d", "-a", "stdout", "busybox"], "conflicting options: cannot specify both --attach and --detach"),
        (["--name", "!bad", "busybox"], "Invalid container name (!bad), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        (["--name", "a", "busybox"], "Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        (["--user", "nobodyknows", "busybox", "true"], "unable to find user nobodyknows: no matching entries in passwd file"),
        (["--user", "root:nobodyknows", "busybox", "true"], "unable to find group nobodyknows: no matching entries in group file"),
        (["-v", "/a:/b:/c:/d", "busybox"], "invalid"),
        (["--entrypoint", "", "no-command"], "no command specified"),
    ],
)
def test_engine_s_own_errors_give_125(w: Wherry, rootfs: object, words: list[str], text: str) -> None:
    if "no-command" in words:
        w.ok("import", str(rootfs), "no-command")
    done = w("run", "--rm", *words)
    assert done.returncode == 125, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert w.ids() == []
    if "no-command" in words:
        w.ok("rmi", "no-command")


def test_missing_image_is_named(w: Wherry) -> None:
    done = w("run", "--rm", "--pull", "never", "nosuchimage", "true")
    assert done.returncode == 125
    assert "No such image: nosuchimage:latest" in done.stderr


def test_image_is_not_a_command(w: Wherry) -> None:
    done = w("run")
    assert done.returncode in (1, 125)
    assert "requires at least 1 argument" in done.stderr


def test_name_in_use_is_a_conflict(w: Wherry) -> None:
    first = w.ok("create", "--name", "taken", "busybox", "true")
    done = w("create", "--name", "taken", "busybox", "true")
    assert done.returncode in (1, 125)
    assert f'Conflict. The container name "/taken" is already in use by container "{first}". You have to remove (or rename)' in done.stderr


def test_detached_prints_the_id_and_nothing_else(w: Wherry) -> None:
    done = w("run", "-d", "--name", "d1", "busybox", "sleep", "100")
    assert done.returncode == 0
    ident = done.stdout.strip()
    assert len(ident) == 64 and set(ident) <= set("0123456789abcdef")
    assert w.ok("inspect", "-f", "{{.Id}} {{.State.Running}}", "d1") == f"{ident} true"


def test_detached_with_rm_is_removed_at_its_end(w: Wherry) -> None:
    w.ok("run", "-d", "--rm", "busybox", "sleep", "0.2")
    w.until(lambda: w.ids() == [])


def test_rm_has_removed_when_the_command_ends(w: Wherry) -> None:
    for _ in range(3):
        w.ok("run", "--rm", "busybox", "true")
        assert w.ids() == []


def test_cidfile(w: Wherry) -> None:
    path = w.folder("cid") / "id"
    w.ok("run", "--rm", "--cidfile", path, "busybox", "true")
    assert len(path.read_text()) == 64
    done = w("run", "--rm", "--cidfile", path, "busybox", "true")
    assert done.returncode == 125
    assert "container ID file found" in done.stderr


def test_second_interrupt_is_not_needed(w: Wherry) -> None:
    """Signals to the attached command go to the container; its exit code comes back."""
    run = w.popen("run", "--rm", "--name", "trap", "busybox", "sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(signal.SIGTERM)
    assert run.wait(10) == 7
    run.communicate()


def test_nothing_is_printed_beside_the_container_s_output(w: Wherry) -> None:
    w("run", "--rm", "busybox", "true")  # what is said once has been said
    done = w("run", "--rm", "busybox", "echo", "hello")
    assert (done.stdout, done.stderr) == ("hello\n", "")


def test_streams_are_separate(w: Wherry) -> None:
    w("run", "--rm", "busybox", "true")
    done = w("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_output_reaches_a_pipe_in_full(w: Wherry) -> None:
    done = w("run", "--rm", "busybox", "sh", "-c", "seq 200000; exit 3", stderr=subprocess.DEVNULL)
    assert done.returncode == 3
    assert done.stdout == "".join(f"{i}\n" for i in range(1, 200001))
