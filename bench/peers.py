"""The engines that are compared: each brings itself up on a store of its own and takes itself away again."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from spawner import Spawner

from support.users import User

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONTAINERS_CONF = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "crun"
"""
POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}\n'
STORAGE_CONF = '[storage]\ndriver = "overlay"\ngraphroot = "{0}/store"\nrunroot = "{0}/run"\n'


class Peer:
    """`name` is the column's head. `base` is a folder that the peer may fill; it is removed with the bench's."""

    name = ""
    monitor = ""  # part of the command line by which a container's helpers are known

    def __init__(self, base: Path, user: User) -> None:
        self.base, self.user = base, user
        base.mkdir(mode=0o755, parents=True)
        os.chown(base, user.uid, user.gid)
        self.env = {"PATH": PATH, "HOME": str(base), "USER": user.name, "LANG": "C.UTF-8"}
        self.spawner: Spawner | None = None

    def prefix(self) -> list[str]:
        raise NotImplementedError

    def up(self) -> None:
        self.spawner = Spawner(self.env, self.file(self.base), self.user.uid, self.user.gid, self.chroot)

    chroot = ""

    def down(self) -> None:
        if self.spawner:
            self.spawner.close()

    def time(self, *words: str) -> float:
        """Milliseconds of one command; raises if it fails."""
        assert self.spawner
        ms, code = self.spawner([*self.prefix(), *words])
        if code:
            raise RuntimeError(f"{self.name}: {' '.join(words)}: exit {code}\n{self.run(*words, check=False)}")
        return ms

    def run(self, *words: str, check: bool = True) -> str:
        """The same, untimed, with its output."""
        assert self.spawner
        log = self.base / "output"
        inside = "/" + str(log.relative_to(self.chroot)) if self.chroot else str(log)
        log.write_text("")
        os.chown(log, self.user.uid, self.user.gid)
        _, code = self.spawner([*self.prefix(), *words], output=inside)
        if code and check:
            raise RuntimeError(f"{self.name}: {' '.join(words)}: exit {code}\n{log.read_text()}")
        return log.read_text().strip()

    def time_many(self, commands: list[list[str]], workers: int) -> float:
        assert self.spawner
        ms, code = self.spawner.many([[*self.prefix(), *c] for c in commands], workers)
        if code:
            raise RuntimeError(f"{self.name}: one of {len(commands)} commands failed: exit {code}")
        return ms

    def file(self, path: Path) -> str:
        """How the peer names a file of the host's."""
        return str(path)

    def remove_all(self) -> None:
        ids = self.run("ps", "-aq").split()
        if ids:
            self.run("rm", "-f", *ids)


class WherryPeer(Peer):
    name = "wherry"
    monitor = "wherry-native"

    def __init__(self, base: Path, user: User, command: Path) -> None:
        super().__init__(base, user)
        self.command = command

    def prefix(self) -> list[str]:
        return [str(self.command), "--root", str(self.base / "store"), "--runroot", str(self.base / "run")]


class PodmanPeer(Peer):
    """Debian's podman. The limits and the manager of control groups are what a machine without systemd needs."""

    name = "podman"
    monitor = "conmon"

    def up(self) -> None:
        (self.base / "containers.conf").write_text(CONTAINERS_CONF)
        (self.base / "x").mkdir(mode=0o700)
        os.chown(self.base / "x", self.user.uid, self.user.gid)
        config = self.base / ".config/containers"
        config.mkdir(parents=True)
        (config / "policy.json").write_text(POLICY)
        for path in (self.base / ".config", config, config / "policy.json"):
            os.chown(path, self.user.uid, self.user.gid)
        inside = self.file(self.base)
        (self.base / "storage.conf").write_text(STORAGE_CONF.format(inside))
        self.env.update(CONTAINERS_CONF=f"{inside}/containers.conf", CONTAINERS_STORAGE_CONF=f"{inside}/storage.conf", HOME=inside)
        if self.user.uid:
            self.env["XDG_RUNTIME_DIR"] = f"{inside}/x"
        super().up()
        self.version = self.run("--version").split()[-1]
        self.name = f"podman {self.version}"

    def prefix(self) -> list[str]:
        return ["podman", "--cgroup-manager=cgroupfs"]

    def down(self) -> None:
        if self.user.uid:  # the process that holds podman's user namespace
            for pidfile in (self.base / "x").rglob("pause.pid"):
                subprocess.run(["kill", "-9", pidfile.read_text().strip()], check=False)
        super().down()


class ChrootPodmanPeer(PodmanPeer):
    """A newer podman in a Debian chroot (the environment's WHERRY_BENCH_CHROOT), with /proc, /sys and /dev bound into it by whoever made it."""

    def __init__(self, base: Path, user: User, chroot: str) -> None:
        super().__init__(Path(chroot, "var/tmp", f"{base.parent.parent.name}-{base.name}"), user)
        self.chroot = chroot

    def file(self, path: Path) -> str:
        if path.is_relative_to(self.chroot):
            return "/" + str(path.relative_to(self.chroot))
        shutil.copy(path, self.base / path.name)
        return "/" + str((self.base / path.name).relative_to(self.chroot))

    def down(self) -> None:
        super().down()
        shutil.rmtree(self.base, ignore_errors=True)


class DockerPeer(Peer):
    """Debian's docker, with a daemon of the bench's own, on its own socket and without touching the machine's network."""

    name = "docker"
    monitor = "containerd-shim"

    def up(self) -> None:
        socket = self.base / "docker.sock"
        self.env["DOCKER_HOST"] = f"unix://{socket}"
        words = ["dockerd", "--data-root", f"{self.base}/data", "--exec-root", f"{self.base}/exec", "--pidfile", f"{self.base}/pid"]
        words += ["-H", f"unix://{socket}", "--iptables=false", "--ip-masq=false", "--bridge=none", "--storage-driver=overlay2"]
        self.log = open(self.base / "dockerd.log", "wb")
        env = {"PATH": PATH, "HOME": str(self.base)}
        self.daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=env, start_new_session=True)
        end = time.monotonic() + 30
        while not socket.exists() or subprocess.run([*self.prefix(), "info"], env=self.env, capture_output=True).returncode:
            if self.daemon.poll() is not None or time.monotonic() > end:
                self.daemon.kill()
                raise RuntimeError(f"dockerd does not start:\n{(self.base / 'dockerd.log').read_text()[-2000:]}")
            time.sleep(0.1)
        super().up()
        self.name = f"docker {self.run('version', '-f', '{{.Server.Version}}').split('+')[0]}"

    def prefix(self) -> list[str]:
        return ["/usr/bin/docker"]

    def down(self) -> None:
        super().down()
        self.daemon.terminate()
        try:
            self.daemon.wait(20)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        self.log.close()
