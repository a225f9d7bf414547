"""Images that are odd or made to hurt: huge configs, working directories, entrypoints, roots without the usual folders, kernel knobs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from support.engine import Wherry
from support.hostile import MakeImage, Member, file, folder, link


def test_ten_thousand_variables(w_root: Wherry, make_image_root: MakeImage) -> None:
    image = make_image_root(
        changes=["ENV " + " ".join(f"V{n}={n}" for n in range(start, start + 1000)) for start in range(0, 10_000, 1000)]
    )
    assert w_root.ok("run", "--rm", image, "sh", "-c", "echo $V0 $V9999; env | grep -c ^V") == "0 9999\n10000"


def test_a_command_line_of_a_megabyte(w_root: Wherry) -> None:
    # The kernel takes no more than 128 kB in one word, and a quarter of the stack in all.
    words = ["x" * 100_000] * 10
    assert w_root.ok("run", "--rm", "busybox", "sh", "-c", "echo $# ${#1}", "sh", *words) == "10 100000"


def test_a_word_that_the_kernel_refuses(w_root: Wherry) -> None:
    w = w_root
    text = "FROM busybox\nCMD " + '["echo", "' + "y" * 200_000 + '"]\n'
    done = w("build", "-q", "-t", "odd-word", "-", input=text)
    assert done.returncode == 0, done.stderr[-300:]
    done = w("run", "--rm", "odd-word")
    assert done.returncode in (125, 126) and "argument list too long" in done.stderr.lower(), (done.returncode, done.stderr[-300:])
    w.ok("rmi", "odd-word")
    assert w.ids() == []


def test_words_and_users_that_are_no_utf_8(w: Wherry) -> None:
    done = w("run", "--rm", "--network", "none", "busybox", "printf", os.fsdecode(b"%s\xff\xfe"), os.fsdecode(b"\xc3\x28"), text=False)
    assert done.stdout == b"\xc3\x28\xff\xfe", done
    done = w("run", "--rm", "-u", os.fsdecode(b"\xff\xfe"), "busybox", "true", text=False)
    assert done.returncode == 125 and b"Traceback" not in done.stderr and b"unable to find user" in done.stderr, done


@pytest.mark.parametrize(
    ("member", "code"),
    [
        (link("wd", "/tmp"), 0),
        (link("wd", "../../../../tmp"), 0),
        (link("wd", "nowhere"), 125),
        (file("wd", "a file"), 125),
        (Member("other"), 0),
    ],
    ids=["a link", "a link out", "a link to nowhere", "a file", "missing"],
)
def test_working_directories(w: Wherry, make_image: MakeImage, member: Member, code: int) -> None:
    done = w("run", "--rm", "-w", "/wd", make_image(member), "pwd")
    assert "Traceback" not in done.stderr
    if code == 0:
        assert (done.returncode, done.stdout.strip()) == (0, "/tmp" if member.name == "wd" else "/wd"), done
    else:
        assert done.returncode in (0, 125, 126, 127) and done.stdout.strip() in ("", "/wd", "/nowhere"), done
        assert done.returncode == 0 or "wd" in done.stderr, done


def aarch64() -> bytes:
    head = bytearray(64)
    head[:20] = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\0" + (183 if os.uname().machine == "x86_64" else 62).to_bytes(2, "little")
    return bytes(head) + b"\0" * 64


@pytest.mark.parametrize(
    ("member", "code", "words"),
    [
        (folder("start"), 126, "directory"),
        (file("start", "echo no interpreter line\n"), 126, "exec format error"),
        (file("start", "#!/no/such/interpreter\n"), 127, "no such file"),
        (file("start", aarch64()), 126, "exec format error"),
        (file("start", "#!/bin/sh\necho\n", mode=0o644), 126, "permission denied"),
        (link("start", "start"), 126, ""),
        (file("start", ""), 126, "exec format error"),
    ],
    ids=["a folder", "no interpreter line", "no interpreter", "another architecture", "not executable", "a loop", "empty"],
)
def test_entrypoints(w_root: Wherry, make_image_root: MakeImage, member: Member, code: int, words: str) -> None:
    done = w_root("run", "--rm", make_image_root(member, changes=['ENTRYPOINT ["/start"]']))
    assert done.returncode in (code, 127 if code == 126 and not words else code), done
    assert words in done.stderr.lower() and "Traceback" not in done.stderr, done
    assert w_root.ids() == []


def test_a_set_user_id_program_gains_nothing_outside(w_root: Wherry, make_image_root: MakeImage) -> None:
    image = make_image_root(file("up", "#!/bin/sh\nid -u\n", mode=0o6755))
    assert w_root.ok("run", "--rm", "-u", "1000", image, "/up") == "1000", "scripts never gain"
    # The layer's own file belongs to root of the host only behind folders that nobody else may enter.
    upper = w_root.root / "layers"
    assert stat.S_IMODE(upper.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("missing", ["proc", "dev", "etc", "sys", "tmp"])
def test_roots_without_the_usual_folders(w: Wherry, make_image: MakeImage, missing: str) -> None:
    # A member inside replaces the folder of the root file system; `image` leaves out what lies below a member.
    image = make_image(Member(f"{missing}-was-here"), *([Member(missing, b"5")] if missing in ("proc", "dev", "sys") else []))
    assert w.ok("run", "--rm", image, "sh", "-c", "ls /proc/self/exe >/dev/null && test -c /dev/null && echo well") == "well"


@pytest.mark.parametrize("privileged", [False, True], ids=["default", "root of a user namespace"])
def test_ways_out_through_the_kernel_are_closed(w: Wherry, privileged: bool) -> None:
    """release_agent (CVE-2022-0492), core_pattern, modprobe, uevent_helper, sysrq: each runs a program on the host."""
    knobs = "/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger /sys/kernel/uevent_helper /proc/sys/fs/binfmt_misc/register"
    script = f"""
        for knob in {knobs}; do [ -e $knob ] && (echo '|/tmp/evil' > $knob) 2>/dev/null && echo "wrote $knob"; done
        for kind in cgroup cgroup2; do mkdir -p /tmp/$kind && mount -t $kind -o rdma none /tmp/$kind 2>/dev/null && echo "mounted $kind"; done
        for agent in $(find /sys/fs/cgroup -name release_agent 2>/dev/null); do (echo /tmp/evil > $agent) 2>/dev/null && echo "wrote $agent"; done
        echo end"""
    words = ["--cap-add", "SYS_ADMIN"] if privileged else []
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    assert w.ok("run", "--rm", *words, "busybox", "sh", "-c", script) == "end"
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
