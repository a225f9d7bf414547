"""A terminal: raw mode, window size, control characters, detaching, attaching again."""

from __future__ import annotations

import signal

from support.engine import Wherry


def test_shell_on_a_terminal(w: Wherry) -> None:
    with w.terminal("run", "--rm", "-it", "busybox", "sh") as t:
        t.expect("# ")
        assert t.is_raw()
        t.type("tty; echo $TERM; test -t 2 && echo yes-err\n")
        t.expect("/dev/pts/0")
        t.expect("xterm")
        t.expect("yes-err")
        t.type("exit 4\n")
        assert t.wait() == 4
        assert t.is_restored()


def test_window_size_at_the_start_and_later(w: Wherry) -> None:
    with w.terminal("run", "--rm", "-it", "busybox", "sh", rows=33, columns=101) as t:
        t.expect("# ")
        t.type("stty size\n")
        t.expect("33 101")
        t.resize(44, 120)
        t.expect("# ")
        t.type("sleep 0.3; stty size\n")
        t.expect("44 120")
        t.type("exit\n")
        assert t.wait() == 0


def test_interrupt_is_a_byte_for_the_container(w: Wherry) -> None:
    with w.terminal(
        "run", "--rm", "-it", "busybox", "sh", "-c", "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.1; done"
    ) as t:
        t.expect("ready")
        t.type(b"\x03")
        t.expect("caught")
        assert t.wait() == 3


def test_detach_and_attach_again(w: Wherry) -> None:
    with w.terminal("run", "-it", "--name", "term", "busybox", "sh") as t:
        t.expect("# ")
        t.type(b"\x10\x11")
        assert t.wait() == 0
        assert t.is_restored()
    assert w.state("term") == "running"
    with w.terminal("attach", "term") as t:
        t.type("echo back-$((40+2))\n")
        t.expect("back-42")
        t.type("exit 8\n")
        assert t.wait() == 8
    assert w.ok("inspect", "-f", "{{.State.ExitCode}}", "term") == "8"


def test_first_detach_key_alone_goes_to_the_container(w: Wherry) -> None:
    with w.terminal("run", "--rm", "-it", "busybox", "sh", "-c", "stty -echo raw; echo ready; head -c 2 | od -An -tx1") as t:
        t.expect("ready")
        t.type(b"\x10x")
        t.expect("10 78")
        assert t.wait() == 0


def test_other_detach_keys(w: Wherry) -> None:
    with w.terminal("run", "-it", "--name", "keys", "--detach-keys", "ctrl-a,d", "busybox", "sh") as t:
        t.expect("# ")
        t.type(b"\x10\x11")
        t.type(b"\x01d")
        assert t.wait() == 0
    assert w.state("keys") == "running"


def test_bad_detach_keys_are_refused(w: Wherry) -> None:
    with w.terminal("run", "--rm", "-it", "--detach-keys", "ctrl-", "busybox", "sh") as t:
        assert t.wait() != 0
        assert b"Traceback" not in t.output


def test_terminal_needs_a_terminal(w: Wherry) -> None:
    done = w("run", "--rm", "-it", "busybox", "sh", input="")
    assert done.returncode == 125 or done.returncode == 1
    assert "cannot attach stdin to a TTY-enabled container because stdin is not a terminal" in done.stderr


def test_terminal_without_input(w: Wherry) -> None:
    """With -t both streams come as one, with the terminal's line ends."""
    done = w("run", "--rm", "-t", "busybox", "sh", "-c", "echo out; echo err >&2", text=False)
    assert done.stdout == b"out\r\nerr\r\n"


def test_detached_with_a_terminal(w: Wherry) -> None:
    w.ok("run", "-dit", "--name", "bg", "busybox", "sh")
    with w.terminal("attach", "bg") as t:
        t.type("echo here-$((1+1))\n")
        t.expect("here-2")
        t.type(b"\x10\x11")
        assert t.wait() == 0
    assert w.state("bg") == "running"


def test_exec_on_a_terminal(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cc", "busybox", "sleep", "1000")
    with w.terminal("exec", "-it", "cc", "sh", rows=50, columns=132) as t:
        t.expect("# ")
        t.type("stty size\n")
        t.expect("50 132")
        t.resize(20, 60)
        t.type("sleep 0.3; stty size; tty\n")
        t.expect("20 60")
        t.expect("/dev/pts/")
        t.type("exit 5\n")
        assert t.wait() == 5
        assert t.is_restored()


def test_terminal_that_dies_leaves_no_traceback_and_ends_the_client(w: Wherry) -> None:
    t = w.terminal("run", "-it", "--name", "hup", "busybox", "sh")
    t.expect("# ")
    t.process.send_signal(signal.SIGHUP)
    t.process.wait(10)
    t.__exit__()
    assert b"Traceback" not in t.output


def test_killed_client_restores_nothing_but_the_container_lives(w: Wherry) -> None:
    t = w.terminal("run", "-it", "--name", "orphan", "busybox", "sh")
    t.expect("# ")
    t.process.kill()
    t.process.wait(10)
    t.__exit__()
    w.until_state("orphan", "running")
    with w.terminal("attach", "orphan") as again:
        again.type("echo alive-$((2*3))\n")
        again.expect("alive-6")
        again.type(b"\x10\x11")
        assert again.wait() == 0
