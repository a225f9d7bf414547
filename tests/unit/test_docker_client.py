"""What docker's own client says without a daemon, we say too, word for word and with its exit code. Skipped where it isn't installed."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.place import CHECKOUT

# The words of the messages are those of this version and later ones.
LEAST = 28

CASES = r"""
run
run --foo busybox
run -Q busybox
run -v
run --volume
run --rm=maybe busybox
run --pull=bogus busybox
run --rm --restart always busybox
run --restart on-failure:x busybox
run --restart :3 busybox
run -a foo busybox
run -e =x busybox
run --env-file /nonexistent busybox
run -l =x busybox
run --label-file /nonexistent busybox
run --shm-size x busybox
run --shm-size -1 busybox
run --ulimit foo busybox
run --ulimit foo=1 busybox
run --ulimit nofile=2:1 busybox
run --ulimit nofile=1:x busybox
run --ulimit nofile=1:2:3 busybox
run --ulimit nofile= busybox
run --ulimit nofile=-1:5 busybox
run --stop-timeout x busybox
run --oom-score-adj 99999999999999999999 busybox
run --cpus x busybox
run --cpus 1.00000000001 busybox
run -m x busybox
run -m -1 busybox
run --memory-swap x busybox
run --memory-swappiness x busybox
run --memory-swappiness 101 busybox
run --blkio-weight x busybox
run --blkio-weight 70000 busybox
run --blkio-weight-device foo busybox
run --blkio-weight-device /dev/sda:5000 busybox
run --blkio-weight-device sda:5 busybox
run --device-read-bps foo busybox
run --device-write-bps /dev/sda:x busybox
run --device-read-iops /dev/sda:1k busybox
run --pids-limit x busybox
run -c x busybox
run --mount type=bind,source=/a busybox
run --mount type=tmpfs,target=/t,size busybox
run --mount type=bind,source=/a,target=/t,nosuch=1 busybox
run --mount type=bind,source=/a,target=/t,readonly=maybe busybox
run --mount type=tmpfs,target=/t,tmpfs-mode=9 busybox
run --mount type=tmpfs,target=/t,tmpfs-size=x busybox
run --mount type=bind,source=/a,target=/t,bind-recursive=readonly busybox
run --mount type=bind,source=/a,target=/t,bind-recursive=readonly,readonly busybox
run --mount type=bind,source=/a,target=/t,bind-recursive=writable busybox
run --mount type=volume,source=/a,target=/t,bind-propagation=shared busybox
run --mount type=bind,source=/a,target=/t,tmpfs-size=1m busybox
run --mount type=bind,source=/a,target=/t,bind-recursive=foo busybox
run --mount target busybox
run --mount= busybox
run --volume= busybox
run -v /a:/b:ro:x busybox
run -v /a: busybox
run --sysctl foo busybox
run --log-driver none --log-opt a=b busybox
run --add-host foo busybox
run --add-host foo:bar busybox
run --add-host foo= busybox
run --pid foo busybox
run --pid container: busybox
run --uts foo busybox
run --cgroupns foo busybox
run --security-opt seccomp=/nonexistent busybox
run --security-opt foo busybox
run --expose foo busybox
run --expose 80-70 busybox
run --expose 80:80 busybox
run --expose 99999 busybox
run Busybox
run a::b
run -d=maybe busybox
run -h
create
create --foo a
create -d a
container run
exec
exec a
exec --foo a b
exec -Z a b
exec -e =x a b
exec -it
exec --env-file /nonexistent a b
ps --foo
ps foo
ps -n x
ps -f x
ps --format {{.Names
ps --format {{foo}}
images --foo
image ls -f x
inspect
inspect --foo a
inspect --format {{.Names a
logs
logs a b
attach --foo a
attach a b
stop
stop -t x a
start
start -a a b
kill
rm
rm --foo a
rmi
rename a
wait
tag a
import - B
import /nonexistent b
load foo
load -i /nonexistent
history
version foo
version --format {{.Foo
info foo
container foo
container --foo
container prune foo
image foo
image rm
image remove
foo
--foo
--log-level x version
help foo
system df foo
container ls --foo
container list -q x
""".strip().splitlines()


@functools.cache
def docker() -> str:
    """The newest docker client of the machine."""
    for folder in ("/usr/local/bin", *os.environ.get("PATH", "").split(":")):
        path = shutil.which("docker", path=folder)
        if path:
            version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            if version.startswith("Docker version ") and int(version.split()[2].partition(".")[0]) >= LEAST:
                return path
    return ""


def said(command: list[str], words: str, home: Path, program: str) -> tuple[int, str]:
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "DOCKER_HOST": f"unix://{home}/nobody",
        "DOCKER_CLI_HINTS": "false",
        "PYTHONPATH": str(CHECKOUT / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "WHERRY_ROOT": str(home / "store"),
        "WHERRY_RUNROOT": str(home / "run"),
    }
    done = subprocess.run([*command, *words.split(" ")], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr.replace(program, "PROGRAM")


@pytest.mark.parametrize("words", CASES)
def test_the_same_words_and_code(words: str, tmp_path: Path) -> None:
    if not docker():
        pytest.skip(f"no docker client of version {LEAST} or later is here")
    theirs = said([docker()], words, tmp_path, "docker")
    if "docker API" in theirs[1] or "daemon at" in theirs[1]:
        pytest.fail(f"{words}: docker asks its daemon: {theirs[1]}")
    assert said([sys.executable, "-m", "wherry"], words, tmp_path, "wherry") == theirs
