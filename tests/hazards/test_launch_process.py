"""What a container's process holds, sees and may do: LAUNCH's traps that are not about paths. The number is the trap's."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.chaos import init_of, monitors, start_time
from support.engine import Wherry
from support.hostile import MakeImage, link
from support.users import User

DEFAULT_CAPS = "00000000a80425fb"
NO_CAPS = "0" * 16


def shell(w: Wherry, *words: str, script: str) -> str:
    return w.ok("run", "--rm", *words, "busybox", "sh", "-c", script)


# 1: the maps


def test_1_changes_of_group_are_denied_only_with_a_single_map(w: Wherry) -> None:
    assert shell(w, script="cat /proc/self/setgroups") == ("deny" if w.single_id else "allow")


def test_1_maps_are_whole(w: Wherry) -> None:
    count = sum(int(line.split()[2]) for line in shell(w, script="cat /proc/self/uid_map").splitlines())
    assert count == (1 if w.single_id else 65536 if w.is_root else w.user.subids[1] + 1 if w.user.subids else 0)


# 3: the pid that is told is the one of the container's first process


def test_3_pid_is_the_first_process(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "box", "busybox", "sleep", "1234")
    pid = w.ok("inspect", "-f", "{{.State.Pid}}", "box")
    assert Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
    assert b"1234" in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert int(pid) == init_of(w, w.ids()[0])


# 4: control groups


def test_4_path_of_the_host_s_control_group_is_not_shown(w: Wherry) -> None:
    ident = w.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    for words in (("exec", "box"), ("run", "--rm", "busybox")):
        out = w.ok(*words, "sh", "-c", "cat /proc/self/cgroup; grep cgroup /proc/self/mountinfo; true")
        assert ident not in out and "wherry" not in out, out
    if w.is_root:
        assert all(line.endswith(":/") for line in w.ok("exec", "box", "cat", "/proc/1/cgroup").splitlines())


def test_4_processes_of_exec_are_in_the_container_s_group(w_root: Wherry) -> None:
    ident = w_root.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    w_root.ok("exec", "-d", "box", "sleep", "4321")
    found = w_root.until(lambda: [p for p in filter(str.isdigit, os.listdir("/proc")) if _words(p) == b"sleep\0004321\0"])
    assert ident in Path(f"/proc/{found[0]}/cgroup").read_text()


def _words(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


# 11: the program itself


@pytest.mark.parametrize("userns", ["", "host"])
def test_11_container_can_not_write_the_native_program(
    w: Wherry, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch, userns: str
) -> None:
    """CVE-2019-5736. The program lies where the container's root could write it, had it a way there."""
    if userns and not w.is_root:
        pytest.skip("an ordinary user's containers are always in his own user namespace")
    program = _own_program(w)
    before = hashlib.sha256(program.read_bytes()).hexdigest()
    monkeypatch.setitem(w.env, "WHERRY_NATIVE", str(program))
    options = ["--userns", userns] if userns else []
    image = make_image(link("evil", "/proc/self/exe"))
    script = "n=0; while [ $n -lt 60 ]; do n=$((n+1)); for p in /proc/[0-9]*/exe; do echo pwned > $p; echo pwned >> $p; done; done 2>/dev/null; sleep 1000"
    for _ in range(2):
        w("run", "--rm", *options, image, "/proc/self/exe", "version")
        w("run", "--rm", *options, "--init", image, "/evil", "version")
    w.ok("run", "-d", *options, "--name", "attacker", "--cap-add", "SYS_PTRACE", image, "sh", "-c", script)
    for _ in range(15):
        w("exec", "attacker", "/proc/self/exe", "version")
        w("exec", "attacker", "/evil", "version")
    assert hashlib.sha256(program.read_bytes()).hexdigest() == before


def _own_program(w: Wherry) -> Path:
    """A copy of the installed native program that the user owns and may write."""
    found = next(w.command.parent.parent.rglob("wherry-native"))
    program = w.folder("native") / "wherry-native"
    shutil.copy(found, program)
    program.chmod(0o755)
    os.chown(program, w.user.uid, w.user.gid)
    return program


def test_11_program_of_the_reaper_is_not_the_host_s_file(w: Wherry) -> None:
    w.ok("run", "-d", "--init", "--name", "box", "busybox", "sleep", "1000")
    done = w("exec", "box", "sh", "-c", "readlink /proc/1/exe; echo x 2>/dev/null > /proc/1/exe && echo written")
    assert "written" not in done.stdout
    assert str(w.command.parent.parent) not in done.stdout


# 12: descriptors


def test_12_nothing_but_the_three(w: Wherry) -> None:
    for words in ((), ("-t",), ("-i",), ("--init",)):
        out = shell(w, *words, script="ls /proc/1/fd; echo -; ls /proc/self/fd").replace("\r", "")
        first, _, own = out.partition("-")
        assert set(own.split()) <= {"0", "1", "2", "3"}, out
        if "--init" not in words:
            assert set(first.split()) <= {"0", "1", "2", "10"}, out  # 10 is how this shell keeps its terminal


def test_12_reaper_holds_nothing_of_the_host(w: Wherry) -> None:
    w.ok("run", "-d", "--init", "--name", "box", "busybox", "sleep", "1000")
    lines = w.ok("exec", "box", "ls", "-l", "/proc/1/fd").splitlines()[1:]
    assert all("pipe:" in x or "/dev/null" in x or "socket:" in x or "anon_inode" in x for x in lines), lines


def test_12_exec_d_processes_hold_nothing_of_the_host(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    for words in ((), ("-t",), ("-i",), ("-d",)):
        w.ok("exec", *words, "box", "sh", "-c", "ls -l /proc/self/fd > /out; readlink /proc/self/cwd >> /out")
        w.until(lambda: w("exec", "box", "grep", "-q", "^/$", "/out").returncode == 0)
        out = w.ok("exec", "box", "cat", "/out")
        assert str(w.base) not in out and "live" not in out and "plan" not in out, out


# 13: the filter


def test_13_filter_holds_for_the_reaper_and_for_exec(w: Wherry) -> None:
    w.ok("run", "-d", "--init", "--name", "box", "busybox", "sleep", "1000")
    assert w.ok("exec", "box", "sh", "-c", "grep -h ^Seccomp: /proc/1/status /proc/self/status").split() == ["Seccomp:", "2"] * 2


@pytest.mark.parametrize("words", [(), ("--security-opt", "no-new-privileges")])
def test_13_filter_with_and_without_new_privileges(w: Wherry, words: tuple[str, ...]) -> None:
    out = shell(w, *words, "--cap-drop", "ALL", script="grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status").split()
    assert out == ["NoNewPrivs:", "1" if words else "0", "Seccomp:", "2"]


def test_13_system_calls_that_are_never_allowed(w: Wherry) -> None:
    """keyctl, bpf, mount, ptrace-free ones: what docker's profile refuses is refused by it (EPERM), whatever the capabilities."""
    assert w("run", "--rm", "busybox", "mount", "-t", "tmpfs", "t", "/tmp").returncode != 0
    assert w("run", "--rm", "busybox", "unshare", "-U", "true").returncode != 0
    assert w("run", "--rm", "busybox", "swapoff", "-a").returncode in (0, 1)
    assert w("run", "--rm", "busybox", "reboot", "-f").returncode != 0


# 14: capabilities


def test_14_exec_has_no_more_than_the_container(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "box", "--cap-drop", "CHOWN", "busybox", "sleep", "1000")
    lines = w.ok("exec", "box", "grep", "^Cap", "/proc/self/status").split()
    caps = dict(zip(lines[::2], lines[1::2]))
    assert caps["CapBnd:"] == caps["CapEff:"] == caps["CapPrm:"] == "00000000a80425fa"
    assert caps["CapInh:"] == caps["CapAmb:"] == NO_CAPS


def test_14_reaper_and_its_child(w: Wherry) -> None:
    out = shell(
        w, "--init", script="grep -h CapBnd /proc/1/status /proc/self/status; grep -h CapAmb /proc/1/status /proc/self/status"
    ).split()
    assert out[1:4:2] == [DEFAULT_CAPS] * 2 and out[5::2] == [NO_CAPS] * 2


def test_14_another_user_can_not_get_them_back(w: Wherry) -> None:
    if w.single_id:
        pytest.skip("nosubids: one id is all there is")
    lines = shell(w, "-u", "alice", script="grep ^Cap /proc/self/status").split()
    caps = dict(zip(lines[::2], lines[1::2]))
    assert caps["CapBnd:"] == DEFAULT_CAPS
    assert caps["CapEff:"] == caps["CapPrm:"] == caps["CapInh:"] == caps["CapAmb:"] == NO_CAPS


# 15: devices


def test_15_devices_can_not_be_made(w: Wherry) -> None:
    """Neither the kernel's log nor the disk: the node isn't made, or can't be opened."""
    for node in ("c 1 11", "b 254 0", "c 1 1"):
        done = w("run", "--rm", "busybox", "sh", "-c", f"mknod /node {node} && head -c 1 /node")
        assert done.returncode != 0 and done.stdout == "", (node, done)


def test_15_devices_can_not_be_made_with_the_host_s_ids(w_root: Wherry) -> None:
    disk = os.stat("/").st_dev
    for node in ("c 1 11", f"b {os.major(disk)} {os.minor(disk)}"):
        done = w_root("run", "--rm", "--userns", "host", "busybox", "sh", "-c", f"mknod /node {node} && head -c 1 /node | wc -c")
        assert done.stdout.strip() in ("", "0"), (node, done)


def test_15_folder_of_devices(w: Wherry) -> None:
    assert shell(w, script="stat -c '%a %u' /dev; stat -c '%t:%T' /dev/null /dev/zero /dev/full /dev/random").split() == [
        "755", "0", "1:3", "1:5", "1:7", "1:8",
    ]  # fmt: skip
    assert shell(w, "-t", script="stat -c %F /dev/console").strip() == "character special file"


# 16: proc and sys


def test_16_kernel_s_settings_are_read_only(w: Wherry) -> None:
    files = "/proc/sys/vm/swappiness /proc/sys/kernel/core_pattern /sys/kernel/mm/ksm/run /proc/sysrq-trigger"
    script = f"for f in {files}; do [ -e $f ] && echo 1 > $f && echo $f; done 2>/dev/null; true"
    assert shell(w, script=script) == ""
    assert shell(w, script="ls -d /proc/[0-9]* | wc -l") in ("2", "3", "4", "5")


# 17: overlay


def test_17_a_container_s_marks_are_its_own(w: Wherry) -> None:
    """`userxattr`: the marks of whiteouts are in a name space that a container may not use to delete what lies beneath."""
    out = w.ok("run", "--rm", "busybox", "sh", "-c", "rm /etc/group; ls /etc/group 2>/dev/null; grep ' / / ' /proc/self/mountinfo")
    assert "userxattr" in out and "/etc/group" not in out.split("\n")[0]
    assert w.ok("run", "--rm", "busybox", "cat", "/etc/group").startswith("root:x:0:")


# 18: supervision


def test_18_ignored_sigchld_of_the_caller(w: Wherry, rootfs: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    assert w("run", "--rm", "busybox", "sh", "-c", "exit 7", preexec_fn=ignore).returncode == 7
    w.ok("run", "-d", "--name", "box", "busybox", "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 8", preexec_fn=ignore)
    assert w("exec", "box", "sh", "-c", "exit 9", preexec_fn=ignore).returncode == 9
    w.ok("exec", "-d", "box", "touch", "/go")
    assert w.ok("wait", "box") == "8"
    w.ok("import", rootfs, "imported", preexec_fn=ignore)
    w.ok("rmi", "imported", preexec_fn=ignore)


def test_18_no_zombies(w: Wherry) -> None:
    ident = w.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    for _ in range(5):
        w.ok("exec", "box", "true")
        w.ok("exec", "-d", "box", "true")
    time.sleep(0.2)
    monitor = monitors(w)[ident]
    children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
    assert [c for c in children if Path(f"/proc/{c}/stat").read_text().rpartition(")")[2].split()[0] == "Z"] == []


@pytest.mark.parametrize(
    "words", [(), ("-u", "alice"), ("--init",), ("--privileged",), ("--security-opt", "no-new-privileges", "-u", "alice")]
)
def test_18_container_dies_with_its_monitor(w: Wherry, words: tuple[str, ...]) -> None:
    """The signal of a parent's death is lost with a change of ids: it has to be asked for again."""
    if w.single_id and "-u" in words:
        pytest.skip("nosubids: one id is all there is")
    ident = w.ok("run", "-d", *words, "--name", "box", "busybox", "sleep", "1000")
    init = init_of(w, ident)
    start = start_time(init)
    assert init
    os.kill(monitors(w)[ident], signal.SIGKILL)
    w.until(lambda: start_time(init) != start or Path(f"/proc/{init}/stat").read_text().rpartition(")")[2].split()[0] in "ZX", 3)


# 19: the terminal


def test_19_terminal_is_not_the_caller_s(w: Wherry) -> None:
    """CVE-2017-5226: what could be pushed into the caller's terminal would be typed there."""
    with w.terminal("run", "--rm", "busybox", "sh", "-c", "tty; (exec 3</dev/tty) || echo none") as t:
        assert t.wait() == 0
        assert b"not a tty" in t.output and b"none" in t.output, t.output
    with w.terminal("run", "--rm", "-it", "busybox", "sh", "-c", "tty; stat -c '%t:%T' $(tty); ps -o pid,tty,comm") as t:
        t.wait()
        ours = os.fstat(t.slave).st_rdev
        assert f"{os.major(ours):x}:{os.minor(ours):x}".encode() not in t.output.split() or ours == 0x8800
        assert b"/dev/pts/0" in t.output or b"/dev/console" in t.output, t.output


def test_19_controlling_terminal_works(w: Wherry) -> None:
    with w.terminal(
        "run", "--rm", "-it", "busybox", "sh", "-c", "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.05; done"
    ) as t:
        t.expect("ready")
        t.type("\x03")
        t.expect("caught")
        assert t.wait() == 3


# 21: nothing of the engine's is where a container could write it


def test_21_run_root_is_private(w: Wherry) -> None:
    ident = w.ok("run", "-d", "--name", "box", "-v", f"{w.folder('a')}:/a", "busybox", "sleep", "1000")
    for path in (w.runroot, w.runroot / "live", w.runroot / ident, w.root / "containers" / ident):
        found = path.stat()
        assert found.st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0, path
        assert found.st_uid == w.user.uid
    out = w.ok("exec", "box", "cat", "/proc/self/mountinfo")
    assert str(w.runroot) not in out


def test_21_other_users_see_nothing(w: Wherry, w_other: User) -> None:
    ident = w.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    for path in (w.runroot / ident / "ctl", w.runroot / ident / "plan", w.root / "wherry.db", w.root / "containers" / ident / "over"):
        done = subprocess.run(["cat", str(path)], capture_output=True, user=w_other.uid, group=w_other.gid, extra_groups=[], cwd="/")
        assert done.returncode != 0 and done.stdout == b"", path


@pytest.fixture
def w_other(w: Wherry, engines: dict[str, Wherry | str]) -> User:
    """Somebody else than the engine's user, not root."""
    for other in engines.values():
        if isinstance(other, Wherry) and not other.is_root and other.user.uid != w.user.uid:
            return other.user
    pytest.skip("no second ordinary user here")


def test_21_another_user_can_not_speak_to_a_monitor(w: Wherry, w_other: User) -> None:
    """Even with the way to the socket open: who it is decides."""
    ident = w.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    fd = os.open(w.runroot / ident, os.O_PATH | os.O_DIRECTORY)
    code = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(3);"
        f"s.connect('/proc/self/fd/{fd}/ctl'); s.send(b'\\x08\\0\\1\\0\\0\\0\\0\\0'); print(s.recv(65536))"
    )
    try:
        options = {"pass_fds": [fd], "capture_output": True, "text": True, "cwd": "/"}
        python = w.command.parent / "python"
        asked = subprocess.run([str(python), "-c", code], **options)
        assert "status=running" in asked.stdout, asked
        refused = subprocess.run([str(python), "-c", code], user=w_other.uid, group=w_other.gid, extra_groups=[], **options)
        assert "status=running" not in refused.stdout, refused
    finally:
        os.close(fd)
