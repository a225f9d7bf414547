"""test_vm.py [--suite bookworm|trixie] [WORDS FOR PYTEST]: tests in a virtual machine with systemd and control groups of version 2 only.

Makes the machine's disk once (build/vm, with mmdebstrap, as root), then for each run a second disk with the checkout and what the
tests need, boots both under qemu without a network and without KVM, and prints what comes over its second serial port. In the
machine tests/vm/job.sh runs the same tests as root and as two ordinary users in sessions of their own. Its exit code is the worst of them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
KEPT = TOP / "build/vm"
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
PACKAGES = (
    "systemd systemd-sysv dbus dbus-user-session libpam-systemd udev kmod procps passwd iproute2 nftables uidmap"
    " python3 python3-venv busybox-static linux-image-cloud-amd64"
)
TOOLS = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "qemu-system-x86_64": "qemu-system-x86", "cc": "gcc libc6-dev"}

# id, and whether it has subordinate ids; both may linger, so that their managers run from the start
USERS = {"tester": (1000, True), "plain": (1001, False)}
FSTAB = "/dev/vda / ext4 defaults 0 1\n"
DELEGATE = "[Service]\nDelegate=cpu cpuset io memory pids\n"
JOB = """[Unit]
Description=the tests
After=multi-user.target user@1000.service user@1001.service
[Service]
Type=oneshot
ExecStartPre=mkdir -p /job
ExecStartPre=mount -o ro /dev/vdb /job
ExecStart=/bin/sh /job/wherry/tests/vm/job.sh
ExecStopPost=systemctl poweroff --no-block
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
[Install]
WantedBy=graphical.target
"""


def run(*words: str | Path, **options: object) -> None:
    done = subprocess.run([str(word) for word in words], **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{words[0]} failed: exit {done.returncode}")


def machine(suite: str) -> Path:
    """The folder with the disk, the kernel and its initial RAM disk, made unless it is there."""
    folder = KEPT / suite
    if (folder / "made").exists():
        return folder
    if os.geteuid():
        sys.exit("making the virtual machine's disk needs root (once; running it doesn't)")
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "root"
    root.mkdir(parents=True)
    archive = KEPT / f"{suite}.tar"
    if not archive.exists():
        print(f"making a Debian {suite} …", file=sys.stderr, flush=True)
        include = "--include=" + ",".join(PACKAGES.split())
        mirror = [os.environ["WHERRY_VM_MIRROR"]] if "WHERRY_VM_MIRROR" in os.environ else []
        run("mmdebstrap", "--quiet", "--variant=minbase", include, suite, f"{archive}.new", *mirror)
        os.rename(f"{archive}.new", archive)
    run("tar", "--numeric-owner", "--xattrs", "-xpf", archive, "-C", root)
    configure(root)
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(os.path.realpath(next(root.glob(f"boot/{name}-*"))), folder / name)
    run("mke2fs", "-q", "-t", "ext4", "-d", root, folder / "disk.img", "6G")
    shutil.rmtree(root)
    (folder / "made").touch()
    return folder


def configure(root: Path) -> None:
    files = {
        "etc/fstab": FSTAB,
        "etc/hostname": "machine\n",
        "etc/systemd/system/user@.service.d/delegate.conf": DELEGATE,
        "etc/systemd/system/job.service": JOB,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name, (number, subids) in USERS.items():
        run("chroot", root, "useradd", "--create-home", "--uid", str(number), "--shell", "/bin/sh", name)
        if not subids:
            for which in ("subuid", "subgid"):
                path = root / "etc" / which
                path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith(f"{name}:")))
        linger = root / "var/lib/systemd/linger"
        linger.mkdir(parents=True, exist_ok=True)
        (linger / name).touch()
    run("chroot", root, "systemctl", "--quiet", "enable", "job.service")
    run("chroot", root, "systemctl", "--quiet", "set-default", "graphical.target")
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer", "systemd-networkd-wait-online.service"):
        subprocess.run(["chroot", str(root), "systemctl", "--quiet", "mask", unit], check=False)


def job(folder: Path, suite: str, words: list[str]) -> Path:
    """A disk with the checkout and everything that pip needs in there, without a network."""
    here = folder / "job"
    shutil.rmtree(here, ignore_errors=True)
    for name in ("src", "tests", "tools", "_build", "docs"):
        ignored = shutil.ignore_patterns("__pycache__", "corpus")
        shutil.copytree(TOP / name, here / "wherry" / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(TOP / name, here / "wherry" / name)
    wheels = folder / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir()
    code = "import sys; sys.path.insert(0, sys.argv[1]); import wherry_build; wherry_build.build_wheel(sys.argv[2])"
    run(sys.executable, "-c", code, TOP / "_build", wheels, stdout=subprocess.DEVNULL)
    # installed here, as in there it would take minutes
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "-q",
        "--root-user-action=ignore",
        "--only-binary",
        ":all:",
    ]
    pip += ["--target", here / "site", "--python-version", PYTHONS[suite]]
    run(*pip, next(wheels.glob("wherry-*.whl")), "pytest>=8", "jsonschema>=4.20", "pytest-xdist>=3.6")
    (here / "words").write_text("".join(f"{word}\n" for word in words))
    image = folder / "job.img"
    image.unlink(missing_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-d", here, image, "512M")
    return image


def boot(folder: Path, image: Path, limit_s: float) -> int:
    """Run the machine until it powers itself off, or `limit_s` seconds. The exit code is what job.sh has written last."""
    out, console = folder / "out.log", folder / "console.log"
    for path in (out, console):
        path.write_bytes(b"")
    drive = "format=raw,if=virtio,file="
    words = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072", "-nographic", "-no-reboot"]
    words += ["-nodefaults", "-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd.img")]
    words += ["-append", "root=/dev/vda rw console=ttyS0 quiet", "-drive", f"{drive}{folder}/disk.img,snapshot=on"]
    words += ["-drive", f"{drive}{image},readonly=on", "-serial", f"file:{console}", "-serial", f"file:{out}"]
    words += ["-netdev", "user,id=n,restrict=on", "-device", "virtio-net-pci,netdev=n"]
    with open(folder / "qemu.log", "w") as said:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    end = time.monotonic() + limit_s
    seen = 0
    try:
        while True:
            over = process.poll() is not None
            with open(out, "rb") as f:
                f.seek(seen)
                new = f.read()
            seen += len(new)
            sys.stdout.write(new.decode(errors="replace").replace("\r", ""))
            sys.stdout.flush()
            if over:
                break
            if time.monotonic() > end:
                sys.exit(f"the machine hasn't finished after {limit_s:.0f} s (its console: {console})")
            time.sleep(0.5)
    finally:
        process.kill()
        process.wait()
    last = (out.read_text(errors="replace").split() or ["none"])[-1]
    if not last.isdigit():
        sys.exit(f"the machine has gone without a result (its console: {console}, qemu's words: {folder / 'qemu.log'})")
    return int(last)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", choices=PYTHONS, default="bookworm")
    parser.add_argument("--limit", type=float, default=1500, metavar="SECONDS")
    options, words = parser.parse_known_args()
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    if missing:
        print(f"skipped: a virtual machine needs these packages here: {' '.join(missing)}")
        return 0 if not os.environ.get("WHERRY_VM_MUST") else 1
    folder = machine(options.suite)
    return boot(folder, job(folder, options.suite, words), options.limit)


if __name__ == "__main__":
    sys.exit(main())
