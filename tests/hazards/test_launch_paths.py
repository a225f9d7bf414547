"""An image's paths lead nowhere but into the container: destinations, masks, the account files, the working directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support import leaks
from support.engine import Wherry
from support.hostile import MakeImage, fifo, file, folder, link
from support.powercut import end_processes

UP = "../../../../../../../../.."


@pytest.fixture
def bait(w: Wherry) -> Path:
    """A folder of the user's on the host, with a file that must stay as it is."""
    path = w.folder("bait")
    (path / "file").write_text("untouched")
    os.chown(path / "file", w.user.uid, w.user.gid)
    path.chmod(0o777)
    (path / "file").chmod(0o666)
    return path


def is_untouched(bait: Path) -> bool:
    return os.listdir(bait) == ["file"] and (bait / "file").read_text() == "untouched"


def harmless(w: Wherry, done: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in done.stderr, done.stderr


# LAUNCH trap 8: destinations


@pytest.mark.parametrize("shape", ["absolute", "climbing", "of a parent", "to a file"])
def test_bind_destination_stays_in_the_root(w: Wherry, make_image: MakeImage, bait: Path, shape: str) -> None:
    source = w.folder("source")
    (source / "mine").write_text("mine")
    member, destination = {
        "absolute": (link("target", str(bait)), "/target"),
        "climbing": (link("target", f"{UP}{bait}"), "/target"),
        "of a parent": (link("target", str(bait.parent)), f"/target/{bait.name}"),
        "to a file": (link("target", f"{UP}{bait}/file/x"), "/target"),
    }[shape]
    before = leaks.host_mounts(w)
    done = w(
        "run", "--rm", "-v", f"{source}:{destination}", make_image(member), "sh", "-c", f"cat {destination}/mine; touch {destination}/new"
    )
    harmless(w, done)
    assert is_untouched(bait)
    assert leaks.host_mounts(w) == before
    if done.returncode == 0:
        assert done.stdout == "mine" and (source / "new").exists()


@pytest.mark.parametrize("kind", ["-w", "--tmpfs", "--device"])
def test_other_destinations_stay_in_the_root(w: Wherry, make_image: MakeImage, bait: Path, kind: str) -> None:
    image = make_image(link("target", f"{UP}{bait}"))
    words = {"-w": "/target/made", "--tmpfs": "/target/made", "--device": "/dev/null:/target/made"}[kind]
    harmless(w, w("run", "--rm", kind, words, image, "sh", "-c", "touch /target/made /target/made/x"))
    assert is_untouched(bait)


@pytest.mark.parametrize("name", ["proc", "sys", "dev", "dev/pts", "dev/shm", "dev/mqueue", "sys/fs/cgroup"])
@pytest.mark.parametrize("target", ["bait", "/etc", "."])
def test_system_folders_as_links(w: Wherry, make_image: MakeImage, bait: Path, name: str, target: str) -> None:
    """CVE-2026-47766, CVE-2026-41579 and their like: /proc, /sys or /dev of the image is a link. Refused, or the link is not followed."""
    before = leaks.host_mounts(w)
    image = make_image(link(name, f"{UP}{bait}" if target == "bait" else target))
    done = w("run", "--rm", image, "sh", "-c", "stat -f -c %T /proc; cat /proc/self/mountinfo; cat /etc/passwd | head -n 1")
    harmless(w, done)
    assert is_untouched(bait) and leaks.host_mounts(w) == before
    if done.returncode == 0:
        lines = done.stdout.splitlines()
        assert lines[0] == "proc", done.stdout
        assert lines[-1].startswith("root:x:0:0"), done.stdout
        assert not [x for x in lines[1:-1] if x.split()[4] == "/etc"], done.stdout
    else:
        assert name.split("/")[0] in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_system_folders_as_files(w: Wherry, make_image: MakeImage, name: str) -> None:
    done = w("run", "--rm", make_image(file(name, "a file")), "true")
    harmless(w, done)
    assert done.returncode != 0 and name in done.stderr


def test_sysctl_is_not_written_through_the_image(w: Wherry, make_image: MakeImage) -> None:
    """CVE-2025-52881: writes for /proc/sys must not be led elsewhere."""
    members = [link("proc", "fake"), folder("fake"), folder("fake/sys"), folder("fake/sys/kernel"), file("fake/sys/kernel/msgmax", "1")]
    done = w("run", "--name", "box", "--sysctl", "kernel.msgmax=65000", make_image(*members), "cat", "/fake/sys/kernel/msgmax")
    harmless(w, done)
    assert "65000" not in done.stdout or done.returncode != 0


# trap 9: masks


def test_mask_through_a_link(w: Wherry, make_image: MakeImage, bait: Path) -> None:
    image = make_image(link("out", f"{UP}{bait}"), folder("kept"), file("kept/secret", "secret"), link("in", "kept"))
    for mask in ("/out/file", "/in/secret", "/out"):
        done = w("run", "--rm", "--security-opt", f"mask={mask}", image, "cat", "/in/secret")
        harmless(w, done)
        assert is_untouched(bait)
        if mask == "/in/secret" and done.returncode == 0:
            assert done.stdout == "", "the mask wasn't put where its path leads"


def test_masks_are_what_they_should_be(w: Wherry) -> None:
    """CVE-2025-31133: what covers a file is the null device and nothing that the container could choose."""
    out = w.ok("run", "--rm", "busybox", "sh", "-c", "for f in kcore keys timer_list; do stat -c '%t:%T' /proc/$f; done").split()
    assert set(out) == {"1:3"}
    out = w.ok(
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "for d in /proc/acpi /proc/scsi /sys/firmware; do [ -d $d ] && ls -A $d && touch $d/x; done; true",
    )
    assert out == ""


@pytest.mark.parametrize("target", ["/etc/passwd", "/proc/sys/kernel/core_pattern", "/proc/1/environ"])
def test_dev_of_the_caller_with_links(w: Wherry, target: str) -> None:
    """CVE-2025-31133, CVE-2025-52565: /dev/null and /dev/console are links in a /dev that the container brought along."""
    dev = w.folder("dev")
    for name in ("null", "console", "ptmx", "zero", "tty"):
        (dev / name).symlink_to(target)
    with w.terminal(
        "run", "--rm", "-t", "-v", f"{dev}:/dev", "busybox", "sh", "-c", "head -n 1 /etc/passwd; echo x > /proc/sys/kernel/core_pattern"
    ) as t:
        t.wait()
        if t.process.returncode == 0 or b"root" in t.output:
            assert b"root:x:0:0" in t.output
        assert b"Traceback" not in t.output
    assert Path("/proc/sys/kernel/core_pattern").read_text() != "x\n"


# trap 12: the working directory


def leads_out(listing: str) -> bool:
    return bool(listing) and "only-in-the-image" not in listing.split()


@pytest.mark.parametrize("way", ["-w", "WORKDIR", "link", "exec"])
def test_working_directory_is_no_descriptor_of_the_host(w: Wherry, make_image: MakeImage, way: str) -> None:
    """CVE-2024-21626: /proc/self/fd/N as working directory must not lead to a folder of the host's that was left open."""
    script = "ls -A; ls -A ../../../../../.."
    image = make_image(*(link(f"cwd{n}", f"/proc/self/fd/{n}") for n in range(3, 20)))
    if way == "exec":
        w.ok("run", "-d", "--name", "box", image, "sleep", "1000")
    for number in range(3, 20):
        path = f"/proc/self/fd/{number}"
        if way == "-w":
            done = w("run", "--rm", "-w", path, image, "ls", "-A", UP)
        elif way == "WORKDIR":
            done = w("run", "--rm", make_image(changes=[f"WORKDIR {path}"]), "ls", "-A", UP) if number < 10 else None
        elif way == "link":
            done = w("run", "--rm", "-w", f"/cwd{number}", image, "ls", "-A", UP)
        else:
            done = w("exec", "-w", path, "box", "ls", "-A", UP)
        if done is None:
            continue
        harmless(w, done)
        assert not leads_out(done.stdout), f"{path}: {script}: {done.stdout}"


# user look-up in the image's files (through descriptors)


@pytest.mark.parametrize("name", ["etc/passwd", "etc/group"])
@pytest.mark.parametrize("shape", ["fifo", "folder", "link out", "link to itself", "endless", "device", "huge line"])
def test_account_files_can_not_hurt(w: Wherry, make_image: MakeImage, bait: Path, name: str, shape: str) -> None:
    (bait / "file").write_text("alice:x:0:0:host:/host:/bin/sh\n")
    member = {
        "fifo": fifo(name),
        "folder": folder(name),
        "link out": link(name, f"{UP}{bait}/file"),
        "link to itself": link(name, Path(name).name),
        "endless": link(name, "/dev/zero"),
        "device": link(name, "/proc/self/mem"),
        "huge line": file(name, b"a" * 20_000_000),
    }[shape]
    image = make_image(member)
    for user in ("0", "alice", "4711:4712", "alice:staff"):
        done = w("run", "--rm", "-u", user, image, "sh", "-c", "echo $HOME", timeout=30)
        harmless(w, done)
        assert "/host" not in done.stdout
        if user == "alice" and name == "etc/passwd":
            assert done.returncode in (125, 126), f"{user}: {done}"
    w.ok("run", "-d", "--name", "box", image, "sleep", "1000")
    harmless(w, w("exec", "-u", "alice", "box", "true", timeout=30))


@pytest.mark.parametrize("shape", ["link out", "folder", "link in", "missing etc", "etc as link", "etc as file"])
def test_host_files_of_the_engine(w: Wherry, make_image: MakeImage, bait: Path, shape: str) -> None:
    """The engine's own hosts, hostname and resolv.conf are put into the image wherever its paths lead inside, never outside."""
    members = {
        "link out": [link(f"etc/{n}", f"{UP}{bait}/{n}") for n in ("hosts", "hostname", "resolv.conf")],
        "folder": [folder(f"etc/{n}") for n in ("hosts", "hostname", "resolv.conf")],
        "link in": [link("etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf")],
        "missing etc": [link("etc", "nowhere")],
        "etc as link": [link("etc", f"{UP}{bait}")],
        "etc as file": [file("etc", "a file")],
    }[shape]
    done = w("run", "--rm", make_image(*members), "cat", "/etc/hosts")
    harmless(w, done)
    assert is_untouched(bait)
    if shape == "link in":
        assert done.returncode == 0 and "localhost" in done.stdout, done.stderr


def test_container_rewrites_itself_between_two_starts(w: Wherry, bait: Path) -> None:
    """What a container has made of its own root is as hostile as an image."""
    script = f"rm -rf /etc /mnt /tmp; ln -s {UP}{bait} /etc; ln -s {UP}{bait} /mnt; ln -s {UP}{bait} /tmp; sleep 1000"
    source = w.folder("source")
    w.ok("run", "-d", "--name", "box", "-v", f"{source}:/data/mnt", "--tmpfs", "/tmp/t", "busybox", "sh", "-c", script)
    w.until(lambda: w("exec", "box", "test", "-L", "/mnt").returncode == 0)
    w.ok("stop", "-t", "0", "box")
    harmless(w, w("start", "box"))
    harmless(w, w("exec", "-u", "alice", "box", "true"))
    harmless(w, w("exec", "-w", "/tmp/made", "box", "true"))
    assert is_untouched(bait)


# trap 5: the old root is gone, and what the container does to its mounts stays there


def test_old_root_is_gone(w: Wherry) -> None:
    lines = w.ok("run", "--rm", "busybox", "cat", "/proc/self/mountinfo").splitlines()
    first = [line for line in lines if line.split()[4] == "/"]
    assert len(first) == 1, "the host's root, or a second one, is still under the container's"
    assert "overlay" in first[0]
    out = w.ok(
        "run",
        "--rm",
        "--cap-add",
        "SYS_ADMIN",
        "--security-opt",
        "seccomp=unconfined",
        "busybox",
        "sh",
        "-c",
        "umount -l / 2>/dev/null; ls -A / | head -c 300",
    )
    assert not leads_out(out) or "bin" in out.split()


def test_mounts_of_a_container_do_not_reach_the_host(w: Wherry, bait: Path) -> None:
    before = leaks.host_mounts(w)
    script = "mount -t tmpfs t /tmp; mount -t tmpfs t /data; umount -l /sys; umount -l /proc; echo done"
    w.ok("run", "--rm", "--privileged", "-v", f"{bait}:/data", "busybox", "sh", "-c", f"{script} 2>/dev/null")
    assert leaks.host_mounts(w) == before


# traps 6 and 7: locked mounts, read-only down to the last


@pytest.fixture
def mounted(w: Wherry) -> object:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    path = w.folder("mounted")
    sub = path / "sub"
    sub.mkdir()
    sub.chmod(0o777)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=777", "t", str(sub)], check=True)
    (sub / "writable").touch()
    (sub / "writable").chmod(0o666)
    yield path
    w.forget_all()
    end_processes(str(path))
    subprocess.run(["umount", str(sub)], check=True)


def test_read_only_bind_is_read_only_in_its_submounts(w: Wherry, mounted: Path) -> None:
    for words in (("-v", f"{mounted}:/x:ro"), ("--mount", f"type=bind,src={mounted},dst=/x,ro")):
        done = w("run", "--rm", *words, "busybox", "sh", "-c", "echo x > /x/sub/writable")
        assert done.returncode != 0, words
    assert (mounted / "sub/writable").read_text() == ""


@pytest.mark.parametrize("flag", ["ro", "nosuid", "nodev", "noexec"])
def test_flags_of_the_host_s_mounts_stay(w: Wherry, mounted: Path, flag: str) -> None:
    """A container may neither drop what the host has set nor look beneath a mount."""
    subprocess.run(["mount", "-o", f"remount,bind,{flag}", str(mounted / "sub")], check=True)
    script = (
        "grep ' /x/sub ' /proc/self/mountinfo | cut -d' ' -f6;"
        "mount -o remount,bind,rw,suid,dev,exec /x/sub 2>/dev/null;"
        "grep ' /x/sub ' /proc/self/mountinfo | cut -d' ' -f6;"
        "umount /x/sub 2>/dev/null && echo uncovered; true"
    )
    # What root gives CAP_SYS_ADMIN may change its own binds' flags, as with docker's; an ordinary user's may not
    able = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined")
    words = () if w.is_root else able
    lines = w.ok("run", "--rm", *words, "-v", f"{mounted}:/x", "busybox", "sh", "-c", script).splitlines()
    assert len(lines) == 2, lines
    for line in lines:
        assert flag in line.split(","), lines
