"""`wherry-native run`: what a plan says is what happens, for root and for ordinary users."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import stat
from pathlib import Path

import pytest

from native import driver
from native.driver import Native, integers, keys, message, received, until
from native.plans import MAKE, NEWPID, encode, i64, u32


def shell(n: Native, script: str) -> str:
    c = n.container()
    c.argv = ["sh", "-c", script]
    done = n.run(c).end()
    assert (done.code, done.err) == (0, b""), done
    return done.out.decode()


def test_output_and_status_come_back(native: Native) -> None:
    c = native.container()
    c.argv = ["sh", "-c", "echo out; echo err >&2; exit 7"]
    done = native.run(c).end()
    assert (done.code, done.out, done.err) == (7, b"out\n", b"err\n")


def test_it_is_alone_in_its_namespaces(native: Native) -> None:
    assert shell(native, "echo $$; hostname; id -u; ls /sys/class/net; pwd") == "1\nbox\n0\nlo\n/\n"


def test_what_is_written_lands_in_the_upper_folder_and_not_in_the_layer(native: Native) -> None:
    c = native.container()
    c.argv = ["sh", "-c", "echo new > /etc/made; rm /etc/group"]
    assert native.run(c).end().code == 0
    upper = c.state / "over/upper/etc"
    assert (upper / "made").read_text() == "new\n"
    assert stat.S_ISCHR((upper / "group").lstat().st_mode)
    assert (upper / "made").stat().st_uid == native.user.uid, "root of the container is plain 0 (or the user) on disk"
    assert (native.rootfs / "etc/group").exists()
    assert not (native.rootfs / "etc/made").exists()


def test_upper_layers_hide_lower_ones(native: Native) -> None:
    layers = []
    for n in range(65):
        layer = native.place / f"layer{n}"
        layer.mkdir()
        (layer / "which").write_text(str(n))
        (layer / f"file{n}").touch()
        layers.append(layer)
    c = native.container(layers=[*reversed(layers), native.rootfs])
    c.argv = ["sh", "-c", "cat /which; ls -d /file* | wc -l"]
    assert native.run(c).end().out == b"6465\n"


def test_files_tell_how_it_stands(native: Native) -> None:
    c = native.container()
    c.argv = ["sh", "-c", "read x"]
    c.stdio = (0, 1, 1, 0, 0)
    running = native.run(c)
    state = keys(c.run / "state")
    assert state["status"] == "running"
    assert state["init"] == f"{running.pid} {running.pid_start}"
    assert state["monitor"] == f"{running.monitor} {running.monitor_start}"
    live = os.listdir(native.place / "run/live")
    assert live == [f"{running.monitor}.{running.monitor_start}.c1"]
    assert running.end(b"x\n").code == 0
    assert until(lambda: not os.listdir(native.place / "run/live"))
    ended = keys(c.state / "exit")
    assert (ended["code"], ended["oom"], ended["signal"], ended["restarts"]) == ("0", "0", "0", "0")
    assert ended["started"] < ended["finished"]


def test_log_has_docker_s_lines(native: Native) -> None:
    c = native.container()
    c.argv = ["printf", r'plain\n<&>"\\\t\001\n\377\303\251\nno end']
    assert native.run(c).end().code == 0
    lines = (c.state / "log.json").read_bytes().splitlines()
    parsed = [json.loads(line) for line in lines]
    assert [p["log"] for p in parsed] == ["plain\n", '<&>"\\\t\x01\n', "\ufffd\u00e9\n", "no end"]
    assert all(p["stream"] == "stdout" and p["time"].endswith("Z") for p in parsed)
    assert rb"\u003c\u0026\u003e\"\\\t\u0001\n" in lines[1]
    assert rb"\ufffd" in lines[2]


def test_one_line_is_cut_at_16_kib(native: Native) -> None:
    c = native.container()
    c.argv = ["sh", "-c", "head -c 40000 /dev/zero | tr '\\0' x; echo"]
    assert len(native.run(c).end().out) == 40001
    parsed = [json.loads(line)["log"] for line in (c.state / "log.json").read_bytes().splitlines()]
    assert [len(p) for p in parsed] == [16384, 16384, 40001 - 2 * 16384]


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_input_arrives_whole(native: Native, size: int) -> None:
    data = os.urandom(size)
    c = native.container()
    c.argv = ["sh", "-c", "sleep 0.2; md5sum"]
    c.stdio = (0, 1, 1, 0, 0)
    assert native.run(c).end(data).out.split()[0].decode() == hashlib.md5(data).hexdigest()


def test_killed_by_a_signal_says_so(native: Native) -> None:
    c = native.container()
    c.argv = ["sh", "-c", "kill -9 $$; sleep 1"]
    c.init = True
    done = native.run(c).end()
    assert done.code == 137


def test_init_reaps_and_passes_signals_on(native: Native) -> None:
    c = native.container()
    c.init = True
    c.argv = ["sh", "-c", "trap 'echo got; exit 3' TERM; (sleep 0.1 &) ; echo ready; while :; do sleep 0.05; done"]
    running = native.run(c)
    assert running.attach.recv(4096)[8:] == b"ready\n"
    assert until(lambda: "zombie" not in Path(f"/proc/{running.pid}/status").read_text())
    running.send(driver.SIGNAL, i64(signal.SIGTERM) + i64(0))
    done = running.end()
    assert (done.code, done.out) == (3, b"got\n")


def test_stop_ends_what_will_not_hear(native: Native) -> None:
    c = native.container()
    c.argv = ["sh", "-c", "trap '' TERM; echo ready; sleep 1000"]
    running = native.run(c)
    assert running.attach.recv(4096)[8:] == b"ready\n"
    running.send(driver.STOP, i64(signal.SIGTERM) + i64(100))
    done = running.end()
    assert (done.code, done.flags) == (137, 2)


def test_time_out_kills(native: Native) -> None:
    c = native.container()
    c.argv = ["sleep", "1000"]
    c.monitor = [("TIMEOUT", 200)]
    assert native.run(c).end().code == 137


def test_terminal(native: Native) -> None:
    c = native.container()
    c.stdio = (1, 1, 1, 33, 111)
    c.argv = ["sh", "-c", "tty; stty size; ls -l /dev/console | cut -c1; read x; echo got $x"]
    running = native.run(c)
    running.send(driver.STDIN, b"word\n")
    done = running.end()
    words = done.out.replace(b"\r", b"").replace(b"word\n", b"", 1).split(b"\n")
    assert words[:4] == [b"/dev/pts/0", b"33 111", b"c", b"got word"]


def test_resize_reaches_the_terminal(native: Native) -> None:
    c = native.container()
    c.stdio = (1, 1, 1, 24, 80)
    c.argv = ["sh", "-c", "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"]
    running = native.run(c)
    assert b"ready" in running.attach.recv(4096)
    running.send(driver.RESIZE, u32(10) + u32(20))
    assert b"10 20" in running.end().out


def test_two_clients_get_the_same(native: Native) -> None:
    c = native.container()
    c.argv = ["sh", "-c", "read x; echo $x"]
    c.stdio = (0, 1, 0, 0, 0)
    running = native.run(c)
    with native.connect(c) as other:
        other.send(message(driver.ATTACH, u32(6), tag=9))
        assert received(other.recv(4096)) == (driver.OK, 9, b"")
        other.send(message(driver.WAIT, tag=5))
        running.send(driver.STDIN, b"hello\n")
        assert received(other.recv(4096)) == (driver.STDOUT, 0, b"hello\n")
        kind, tag, payload = received(other.recv(4096))
        assert (kind, tag, integers(payload)) == (driver.EXIT, 5, [0, 0])
    assert running.end().out == b"hello\n"


def test_unknown_request_gets_an_error(native: Native) -> None:
    c = native.container()
    c.argv = ["sleep", "1000"]
    running = native.run(c)
    running.send(99, b"", tag=3)
    kind, tag, payload = received(running.attach.recv(4096))
    assert (kind, tag, integers(payload[:8])) == (driver.ERROR, 3, [errno.ENOSYS])
    running.send(driver.STOP, i64(9) + i64(0))
    assert running.end().code == 137


def test_restart_without_anybody(native: Native) -> None:
    c = native.container()
    c.monitor = [("RESTART", "on-failure", 2)]
    c.argv = ["sh", "-c", "echo run; exit 3"]
    done = native.run(c).end()
    assert (done.code, done.out) == (3, b"run\n" * 3)
    assert keys(c.state / "exit")["restarts"] == "2"


# -- failures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "number"),
    [(["nothere"], errno.ENOENT), (["/nothere"], errno.ENOENT), (["/etc"], errno.EISDIR), (["/etc/passwd"], errno.EACCES)],
)
def test_what_can_not_be_executed(native: Native, argv: list[str], number: int) -> None:
    c = native.container()
    c.argv = argv
    failed = native.run(c).failed
    assert failed is not None
    assert (failed.errno, failed.detail) == (number, argv[0])
    assert not (c.run / "ctl").exists()
    assert not os.listdir(native.place / "run/live")


@pytest.mark.parametrize(
    ("user", "detail"),
    [
        ("x", "unable to find user x: no matching entries in passwd file"),
        ("0:y", "unable to find group y: no matching entries in group file"),
    ],
)
def test_user_that_is_not_there(native: Native, user: str, detail: str) -> None:
    c = native.container()
    c.user = user
    failed = native.run(c).failed
    assert failed is not None
    assert failed.detail == detail


def test_failure_names_the_operation_and_the_path(native: Native) -> None:
    c = native.container()
    c.layers = [native.place / "nowhere"]
    failed = native.run(c).failed
    assert failed is not None
    assert failed.errno == errno.ENOENT
    assert failed.detail == str(native.place / "nowhere")
    assert failed.operation >= 5


@pytest.mark.parametrize(
    "data", [b"", b"WHRYPLN1", b"WHRYPLN1" + bytes(8), encode([("ATTACH", 3, "/x", 0)]), encode([])[:-4] + b"\1\0\0\0"]
)
def test_plan_that_is_none_is_refused_before_anything_is_done(native: Native, data: bytes) -> None:
    failed = native.run(data).failed
    assert failed is not None
    assert (failed.operation, failed.errno) == (-1, errno.EINVAL)


# -- the process --------------------------------------------------------------------------------------------------------


def test_user_home_and_groups_come_from_the_container_s_files(native: Native) -> None:
    if not native.user.subids and native.user.uid:
        pytest.skip("one id is all there is")
    c = native.container()
    c.user = "alice"
    c.argv = ["sh", "-c", "id -u; id -g; id -G; echo $HOME; pwd"]
    c.cwd = ("/made/on/the/way", 1)
    assert native.run(c).end().out.decode().split("\n")[:5] == ["1000", "1000", "1000 50 998", "/home/alice", "/made/on/the/way"]


def test_capabilities_and_bounding_set_are_the_plan_s(native: Native) -> None:
    out = dict(line.split(":\t") for line in shell(native, "grep ^Cap /proc/self/status").splitlines())
    assert out == {
        "CapInh": "0" * 16,
        "CapPrm": "00000000a80425fb",
        "CapEff": "00000000a80425fb",
        "CapBnd": "00000000a80425fb",
        "CapAmb": "0" * 16,
    }


def test_low_limits_do_not_bind_the_launcher(native: Native) -> None:
    c = native.container()
    c.outer = [("RLIMIT", 7, 3, 3), ("RLIMIT", 4, 0, 0)]
    c.argv = ["sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c"]
    done = native.run(c)
    assert done.warnings == []
    assert done.end().out.split() == [b"3", b"3", b"0"]


def test_limit_above_the_user_s_own_is_said(native: Native) -> None:
    if native.user.uid == 0:
        pytest.skip("root has none above him")
    c = native.container()
    c.outer = [("RLIMIT", 7, 1 << 19, 1 << 30)]
    running = native.run(c)
    assert any("--ulimit" in warning for warning in running.warnings)
    assert running.end().code == 0


def test_masked_and_read_only_paths(native: Native) -> None:
    out = shell(
        native,
        "wc -c < /proc/keys; ls /sys/firmware /proc/acpi 2>/dev/null | grep -v :; echo 1 2>&1 > /proc/sys/kernel/core_pattern | grep -o Read-only; true",
    )
    assert out.split() == ["0", "Read-only"]


def test_nothing_of_the_launcher_is_left_open(native: Native) -> None:
    assert shell(native, "ls /proc/self/fd | tr '\\n' ' '").split() == ["0", "1", "2", "3"]


# -- hostile images -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["/proc", "/sys", "/dev"])
def test_link_in_place_of_a_kernel_folder_is_refused(native: Native, where: str) -> None:
    """CVE-2019-19921: mounts that land elsewhere."""
    layer = native.place / "evil"
    layer.mkdir()
    (layer / where[1:]).symlink_to("/tmp")
    failed = native.run(native.container(layers=[layer, native.rootfs])).failed
    assert failed is not None
    assert failed.errno == errno.ENOTDIR


def test_destination_behind_a_link_stays_in_the_root(native: Native) -> None:
    layer = native.place / "evil"
    layer.mkdir()
    outside = native.place / "outside"
    outside.mkdir()
    (layer / "way").symlink_to("/" + "../" * 20 + str(outside))
    c = native.container(layers=[layer, native.rootfs])
    c.mounts = [("MOUNT", "tmpfs", "/way/in", 0, "", "tmpfs", MAKE)]
    c.argv = ["sh", "-c", f"touch /way/in/x; ls {outside}/in"]
    assert native.run(c).end().out == b"x\n"
    assert os.listdir(outside) == []


def test_program_s_own_file_is_out_of_reach(native: Native) -> None:
    """CVE-2019-5736: an image whose program is /proc/self/exe leaves ours running in the container, there for the taking."""
    before = native.program.read_bytes()
    c = native.container()
    c.argv = ["sleep", "1000"]
    c.user = ""
    running = native.run(c)
    attacker = native.exec(native.exec_plan(c, running, ["/proc/self/exe", "init", "77"]))
    assert attacker.failed is None
    exe = os.readlink(f"/proc/{attacker.pid}/exe")
    assert str(native.place) not in exe
    script = "for p in /proc/[0-9]*; do exec 3<$p/exe && kill -9 ${p#/proc/} && sleep 0.1 && echo pwned > /proc/self/fd/3; done; true"
    native.exec(native.exec_plan(c, running, ["sh", "-c", script])).end()
    running.send(driver.STOP, i64(9) + i64(0))
    running.end()
    attacker.attach.close()
    assert native.program.read_bytes() == before


# -- exec ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", [False, True])
def test_exec_joins_everything(native: Native, init: bool) -> None:
    c = native.container()
    c.init = init
    c.argv = ["sleep", "1000"]
    running = native.run(c)
    script = "hostname; for n in mnt net uts ipc pid cgroup user; do readlink /proc/self/ns/$n; done; exit 9"
    done = native.exec(native.exec_plan(c, running, ["sh", "-c", script])).end()
    assert done.code == 9
    spaces = [os.readlink(f"/proc/{running.pid}/ns/{n}") for n in ("mnt", "net", "uts", "ipc", "pid", "cgroup", "user")]
    assert done.out.decode().split() == ["box", *spaces]
    running.send(driver.STOP, i64(9) + i64(0))
    assert running.end().code == 137


def test_exec_has_its_own_terminal(native: Native) -> None:
    c = native.container()
    c.argv = ["sleep", "1000"]
    running = native.run(c)
    done = native.exec(native.exec_plan(c, running, ["sh", "-c", "tty; stty size"], stdio=(1, 1, 1, 11, 22))).end()
    assert done.out.split() == [b"/dev/pts/0", b"11", b"22"], repr(done.out)
    running.send(driver.STOP, i64(9) + i64(0))
    running.end()


def test_exec_after_the_end_fails(native: Native) -> None:
    c = native.container()
    c.argv = ["sleep", "1000"]
    running = native.run(c)
    plan = native.exec_plan(c, running, ["true"])
    running.send(driver.STOP, i64(9) + i64(0))
    running.end()
    failed = native.exec(plan).failed
    assert failed is not None
    assert failed.errno in (errno.ESRCH, errno.ENOENT)


# -- kill -9 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", [False, True])
@pytest.mark.parametrize("alone", [True, False])
def test_death_of_the_monitor_ends_the_container(native: Native, init: bool, alone: bool) -> None:
    c = native.container()
    c.init = init
    if not alone:
        c.namespaces &= ~NEWPID
    c.argv = ["sleep", "54321"]
    running = native.run(c)
    os.kill(running.monitor, signal.SIGKILL)
    assert until(lambda: not native.processes())
    running.attach.close()


def test_kill_at_any_instant_leaves_nothing(native: Native) -> None:
    """The launch is cut short after 0 … 7 ms: some of those who are there then are killed, at last the monitor; nobody stays."""
    for step in range(30):
        c = native.container(f"k{step}")
        c.argv = ["sleep", "54321"]
        stage = native.start_only(c)
        until(lambda: False, step * 0.00025)
        native.kill(native.processes()[step % 2 :: 2])
        stage.wait()
        native.kill([line for line in native.processes() if " run " in line])
        assert until(lambda: not native.processes()), native.processes()
