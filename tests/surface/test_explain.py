"""`inspect --explain`: what it says is what `inspect` and the kernel say."""

from __future__ import annotations

from support.engine import Wherry


def test_isolation_in_words_and_a_drawing(w: Wherry) -> None:
    flags = ["-v", "/tmp:/host:ro", "--cap-drop", "CHOWN", "--network", "none", "--restart", "on-failure:3", "--read-only"]
    w.ok("run", "-d", "--name", "box", *flags, "busybox", "sleep", "100")
    text = w.ok("inspect", "--explain", "box")
    assert text.startswith("box  ") and "running, pid " in text
    for words in ("13 of 41 capabilities; without the usual: CHOWN", "/host is bind /tmp, read-only", "/ is read-only", "3 times at most"):
        assert words in text, text
    assert "none: only its own loopback" in text and "of its own: mount, network, pid, ipc, uts, cgroup" in text
    assert f"monitor {w.ok('inspect', '-f', '{{.Wherry.MonitorPid}}', 'box')}" in text
    assert "└─ box: sleep 100" in text
    first = w.ok("exec", "box", "cat", "/proc/self/uid_map").split()
    if w.is_root:
        assert f"0 to 65535 in it are {first[1]} to" in text
    else:
        assert f"0 to 0 in it are {w.user.uid} to {w.user.uid} of the host" in text


def test_what_is_given_up_is_said(w_root: Wherry) -> None:
    w = w_root
    w.ok("run", "-d", "--name", "open", "--privileged", "--pid", "host", "--network", "host", "busybox", "sleep", "100")
    w.ok("create", "--name", "inner", "--network", "container:open", "--security-opt", "seccomp=unconfined", "busybox", "sh")
    text = w.ok("inspect", "--explain", "open", "inner")
    for words in ("root in it is root of the host", "privileged: all capabilities", "pid: the host's", "no monitor: it does not run"):
        assert words in text, text
    assert "no filter of system calls" in text and "network: that of container " in text
    assert w("inspect", "--explain", "nobody").returncode == 1


def test_control_characters_of_a_command_do_not_reach_the_terminal(w_user: Wherry) -> None:
    w_user.ok("create", "--name", "sly", "busybox", "echo", "\x1b[2J\nxx")
    text = w_user.ok("inspect", "--explain", "sly")
    assert "\x1b" not in text and "\nxx" not in text
