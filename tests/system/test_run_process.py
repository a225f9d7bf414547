"""What a process finds in its container: user, folder, environment, limits, capabilities."""

from __future__ import annotations

import os

import pytest

from support.engine import Wherry

# docker's fourteen default capabilities as /proc/self/status shows them
DEFAULT_CAPS = "00000000a80425fb"


def shell(w: Wherry, *words: str, script: str) -> str:
    return w.ok("run", "--rm", *words, "busybox", "sh", "-c", script)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "uid=0(root) gid=0(root)"),
        ("0", "uid=0(root) gid=0(root)"),
        ("alice", "uid=1000(alice) gid=1000(alice) groups=1000(alice),50(staff),998(wheel)"),
        ("alice:staff", "uid=1000(alice) gid=50(staff)"),
        ("1001", "uid=1001(bob) gid=1001(bob) groups=1001(bob),50(staff)"),
        ("4711", "uid=4711 gid=0(root)"),
        ("4711:4712", "uid=4711 gid=4712"),
        ("root:daemon", "uid=0(root) gid=1(daemon)"),
    ],
)
def test_user_is_looked_up_in_the_container_s_files(w: Wherry, user: str, expected: str) -> None:
    if w.single_id and user not in ("", "0"):
        pytest.skip("nosubids: one id is all there is")
    options = ["--user", user] if user else []
    found = shell(w, *options, script="id")
    plain = set(found.replace(",", " ").replace("groups=", "").split())
    wanted = set(expected.replace(",", " ").replace("groups=", "").split())
    assert wanted <= plain, found
    if "groups" not in expected:
        # Only the group given, and since CVE-2022-36109 that one among the supplementary ones, too.
        assert set(found.replace(expected, "").replace("groups=", "").strip().split(",")) <= {"", expected.partition("gid=")[2]}


def test_added_groups(w: Wherry) -> None:
    if w.single_id:
        pytest.skip("nosubids: one id is all there is")
    assert "50(staff)" in shell(w, "--group-add", "staff", "--group-add", "777", script="id")
    assert "777" in shell(w, "--group-add", "staff", "--group-add", "777", script="id -G").split()


@pytest.mark.parametrize(
    ("options", "home"),
    [
        ([], "/root"),
        (["-u", "alice"], "/home/alice"),
        (["-u", "1000"], "/home/alice"),
        (["-u", "4711"], "/"),
        (["-e", "HOME=/elsewhere"], "/elsewhere"),
        (["-u", "alice", "-e", "HOME=/elsewhere"], "/elsewhere"),
    ],
)
def test_home_comes_from_passwd_unless_set(w: Wherry, options: list[str], home: str) -> None:
    assert shell(w, *options, script="echo $HOME") == home


def test_environment(w: Wherry) -> None:
    lines = w.ok("run", "--rm", "-h", "box", "-e", "A=1", "-e", "B=two words", "-e", "A=3", "busybox", "env").splitlines()
    assert sorted(x for x in lines if not x.startswith(("PWD=", "SHLVL="))) == [
        "A=3",
        "B=two words",
        "HOME=/root",
        "HOSTNAME=box",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]


def test_environment_of_the_caller(w: Wherry) -> None:
    done = w.ok("run", "--rm", "-e", "MINE", "-e", "NOT_SET", "busybox", "env", env={"MINE": "from the caller", "OTHER": "x"})
    assert "MINE=from the caller" in done.splitlines()
    assert "OTHER" not in done and "NOT_SET" not in done and "LOGNAME" not in done


def test_env_file(w: Wherry) -> None:
    path = w.file("env", '\ufeff# a comment\n\nA=1\n  B="quotes stay"\nC=$A \nMINE\n')
    lines = w.ok("run", "--rm", "--env-file", path, "busybox", "env", env={"MINE": "m"}).splitlines()
    assert {"A=1", 'B="quotes stay"', "C=$A ", "MINE=m"} <= set(lines)
    bad = w("run", "--rm", "--env-file", w.file("env", "x y=1\n"), "busybox", "env")
    assert bad.returncode == 125 and "contains whitespaces" in bad.stderr


def test_terminal_type_only_with_a_terminal(w: Wherry) -> None:
    assert shell(w, script="echo $TERM-") == "-"


def test_working_directory(w: Wherry) -> None:
    assert w.ok("run", "--rm", "busybox", "pwd") == "/"
    assert w.ok("run", "--rm", "-w", "/tmp", "busybox", "pwd") == "/tmp"
    assert (
        w.ok("run", "--rm", "-w", "/made/for/this", "busybox", "sh", "-c", "pwd; stat -c '%a %u' /made/for/this") == "/made/for/this\n755 0"
    )
    done = w("run", "--rm", "-w", "/etc/passwd", "busybox", "pwd")
    assert done.returncode in (125, 126, 127) and "/etc/passwd" in done.stderr


def test_working_directory_of_another_user(w: Wherry) -> None:
    assert w.ok("run", "--rm", "-u", "alice", "-w", "/home/alice", "busybox", "pwd") == "/home/alice"


def test_entrypoint_and_command(w: Wherry) -> None:
    assert w.ok("run", "--rm", "--entrypoint", "echo", "busybox", "a", "b") == "a b"
    assert w.ok("run", "--rm", "--entrypoint", "/bin/pwd", "busybox") == "/"


def test_hostname(w: Wherry) -> None:
    assert w.ok("run", "--rm", "-h", "my-box", "busybox", "hostname") == "my-box"
    ident = w.ok("create", "busybox", "hostname")
    assert w.ok("start", "-a", ident) == ident[:12]
    hosts = w.ok("run", "--rm", "-h", "my-box", "busybox", "cat", "/etc/hosts")
    assert "127.0.0.1\tlocalhost" in hosts
    assert w.ok("run", "--rm", "-h", "my-box", "busybox", "cat", "/etc/hostname") == "my-box"


def test_add_host(w: Wherry) -> None:
    assert "10.1.2.3\tdb" in w.ok("run", "--rm", "--add-host", "db:10.1.2.3", "busybox", "cat", "/etc/hosts")


def test_first_process_is_number_one(w: Wherry) -> None:
    assert shell(w, script="echo $$") == "1"


def test_init_reaps(w: Wherry) -> None:
    script = "echo $$; (sh -c 'sleep 0.1 &'); sleep 0.5; ps -o stat,comm | grep -c '^Z'"
    first, zombies = shell(w, "--init", script=f"{script} || true").splitlines()
    assert first != "1"
    assert zombies == "0"


def test_init_passes_signals_and_the_exit_code(w: Wherry) -> None:
    w.ok("run", "-d", "--init", "--name", "ci", "busybox", "sh", "-c", "trap 'exit 6' TERM; while :; do sleep 0.05; done")
    w.ok("stop", "ci")
    assert w.ok("inspect", "-f", "{{.State.ExitCode}}", "ci") == "6"


def test_default_capabilities_are_docker_s(w: Wherry) -> None:
    lines = shell(w, script="grep ^Cap /proc/self/status").split()
    caps = dict(zip(lines[::2], lines[1::2]))
    assert caps["CapEff:"] == caps["CapPrm:"] == caps["CapBnd:"] == DEFAULT_CAPS
    assert caps["CapInh:"] == caps["CapAmb:"] == "0" * 16


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--cap-drop", "ALL"], "0000000000000000"),
        (["--cap-drop", "all", "--cap-add", "NET_BIND_SERVICE"], "0000000000000400"),
        (["--cap-drop", "CHOWN"], "00000000a80425fa"),
        (["--cap-add", "CAP_SYS_PTRACE"], "00000000a80c25fb"),
    ],
)
def test_capabilities_added_and_dropped(w: Wherry, options: list[str], expected: str) -> None:
    assert shell(w, *options, script="grep CapEff /proc/self/status | cut -f 2") == expected


def test_unknown_capability_is_refused(w: Wherry) -> None:
    done = w("run", "--rm", "--cap-add", "FLYING", "busybox", "true")
    assert done.returncode == 125 and "FLYING" in done.stderr


def test_other_user_has_no_capabilities(w: Wherry) -> None:
    if w.single_id:
        pytest.skip("nosubids: one id is all there is")
    assert shell(w, "-u", "alice", script="grep CapEff /proc/self/status | cut -f 2") == "0" * 16


def test_no_new_privileges(w: Wherry) -> None:
    assert shell(w, "--security-opt", "no-new-privileges", script="grep NoNewPrivs /proc/self/status | cut -f 2") == "1"
    assert shell(w, script="grep NoNewPrivs /proc/self/status | cut -f 2") == "0"


def test_seccomp_is_on_and_can_be_turned_off(w: Wherry) -> None:
    assert shell(w, script="grep ^Seccomp: /proc/self/status | cut -f 2") == "2"
    # with one id alone a filter stays: the one that makes changes of owner succeed
    expected = "2" if w.single_id else "0"
    assert shell(w, "--security-opt", "seccomp=unconfined", script="grep ^Seccomp: /proc/self/status | cut -f 2") == expected


def test_seccomp_denies(w: Wherry) -> None:
    """`unshare` of a user namespace needs CAP_SYS_ADMIN under docker's profile."""
    assert w("run", "--rm", "busybox", "unshare", "-U", "true").returncode != 0
    assert w("run", "--rm", "--security-opt", "seccomp=unconfined", "busybox", "unshare", "-U", "true").returncode == 0


def test_ulimits(w: Wherry) -> None:
    assert shell(w, "--ulimit", "nofile=512:600", "--ulimit", "core=0", script="ulimit -Sn; ulimit -Hn; ulimit -c") == "512\n600\n0"


def test_limits_are_the_caller_s_by_default(w: Wherry) -> None:
    assert shell(w, script="ulimit -n") == w.host("sh", "-c", "ulimit -n").stdout.strip()


def test_sysctl_of_own_namespaces(w: Wherry) -> None:
    assert shell(w, "--sysctl", "net.ipv4.ip_forward=1", script="cat /proc/sys/net/ipv4/ip_forward") == "1"
    assert shell(w, "--sysctl", "kernel.msgmax=65000", script="cat /proc/sys/kernel/msgmax") == "65000"


@pytest.mark.parametrize("name", ["kernel.panic=1", "vm.swappiness=1", "fs.file-max=100"])
def test_sysctl_of_the_machine_is_refused(w: Wherry, name: str) -> None:
    done = w("run", "--rm", "--sysctl", name, "busybox", "true")
    assert done.returncode == 125 and name.split("=")[0] in done.stderr


def test_oom_score(w: Wherry) -> None:
    assert shell(w, "--oom-score-adj", "500", script="cat /proc/self/oom_score_adj") == "500"


def test_masked_and_read_only_paths(w: Wherry) -> None:
    assert shell(w, script="wc -c < /proc/keys; ls /proc/acpi 2>/dev/null | wc -l") == "0\n0"
    assert w("run", "--rm", "busybox", "sh", "-c", "echo 1 > /proc/sys/kernel/hostname").returncode != 0
    assert w("run", "--rm", "busybox", "sh", "-c", "echo b > /proc/sysrq-trigger").returncode != 0


def test_privileged_has_everything_that_the_caller_has(w: Wherry) -> None:
    caps = int(shell(w, "--privileged", script="grep CapEff /proc/self/status | cut -f 2"), 16)
    assert caps & (1 << 21)  # CAP_SYS_ADMIN
    assert caps.bit_count() >= 38
    assert (
        w.ok(
            "run",
            "--rm",
            "--privileged",
            "busybox",
            "sh",
            "-c",
            "mount -t tmpfs t /mnt 2>/dev/null || { mkdir /m && mount -t tmpfs t /m; } && echo yes",
        )
        == "yes"
    )


def test_devices(w: Wherry) -> None:
    names = shell(w, script="ls /dev").split()
    assert set(names) >= {
        *(["core"] if os.path.exists("/proc/kcore") else []),
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    }
    assert shell(w, script="echo x > /dev/null; head -c 3 /dev/zero | wc -c; stat -c %a /dev/shm") == "3\n1777"


def test_added_device(w: Wherry) -> None:
    assert shell(w, "--device", "/dev/zero:/dev/nought", script="head -c 5 /dev/nought | wc -c") == "5"


def test_shm_size(w: Wherry) -> None:
    assert "65536" in shell(w, script="df -k /dev/shm | tail -n 1").split()
    assert "131072" in shell(w, "--shm-size", "128m", script="df -k /dev/shm | tail -n 1").split()


def test_label_annotation_and_stop_signal_are_kept(w: Wherry) -> None:
    w.ok("create", "--name", "cx", "-l", "a=b", "--label", "c", "--stop-signal", "USR1", "--annotation", "d=e", "busybox")
    assert w.ok("inspect", "-f", "{{.Config.Labels.a}} {{.Config.StopSignal}} {{.HostConfig.Annotations.d}}", "cx") == "b USR1 e"
