"""The agent of an S3 volume that is in use: `main` is what its process runs. It is root of R (root: of a mount namespace of its own), outside
of all containers' namespaces, and ends with the last container that uses the volume, having sent what can be sent.

It writes `status` beside its `users/`: {"unsent": [[name, bytes]], "error": "", "conflicts": [], "flushed": time, "passed": time of the
last pass, "leaving": bool}.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

from wherry.kernel import process
from wherry.volume.s3http import Client, Keys, S3Error, Where

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOOK_S = 0.25
BELOW_FD = 100
SETTLED_S = 0.3
RETRY_S = 0.5
# What the end of the last container waits for; what is left then is sent on the next use.
DRAIN_S = 60.0
MOUNTED_S = 20.0


def main() -> None:
    order = json.loads(sys.stdin.read())
    os.umask(0o022)
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    agent = _SyncAgent(order) if order["mode"] == "sync" else _MountAgent(order)
    try:
        agent.begin()
    except (OSError, S3Error) as error:
        sys.stderr.write(str(error))
        sys.stderr.flush()
        os._exit(1)
    pid = os.getpid()
    os.write(1, f"{pid} {process.start_time(pid)}".encode())
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.chdir("/")
    agent.serve()
    agent.end()
    os._exit(0)


class _Agent:
    def __init__(self, order: dict[str, Any]) -> None:
        self._folder, self._volume = order["folder"], order["volume"]
        self._where, self._keys = Where(*order["where"]), Keys(*order["keys"])
        self._order = order
        self._status: dict[str, Any] = {"unsent": [], "error": "", "conflicts": [], "flushed": 0.0, "passed": 0.0, "leaving": False}

    def begin(self) -> None:
        raise NotImplementedError

    def serve(self) -> None:
        """Until the last user is gone and all is sent, or the time for that is over. A user that comes meanwhile is served as well:
        it is looked for once more before the end, and whoever notes itself waits until `leaving` is over."""
        while True:
            while self._in_use():
                time.sleep(LOOK_S)
                self._tick()
            self._status["leaving"] = True
            self._tell()
            end = time.monotonic() + DRAIN_S
            time.sleep(SETTLED_S)
            while not self._drained() and time.monotonic() < end and not self._in_use():
                self._tell()
                time.sleep(RETRY_S)
            self._remember_unsent()
            if not self._in_use():
                self._tell()
                return
            self._tick()
            self._status["leaving"] = False
            self._tell()

    def _tick(self) -> None:
        raise NotImplementedError

    def _drained(self) -> bool:
        raise NotImplementedError

    def end(self) -> None:
        return

    def _write(self, path: str, data: object) -> None:
        with open(path + ".new", "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(data, file)
        os.rename(path + ".new", path)

    def _tell(self) -> None:
        self._write(self._folder + "/status", self._status)

    def _remember_unsent(self) -> None:
        """For `inspect` and `rm` when nobody runs."""
        path = self._volume + "/unsent"
        if self._status["unsent"]:
            self._write(path, self._status["unsent"])
        elif os.path.exists(path):
            os.unlink(path)

    def _asked_to_flush(self) -> float:
        try:
            return float(process.read_text(self._folder + "/flush") or 0)
        except ValueError:
            return 0.0

    def _in_use(self) -> bool:
        """A user counts while its monitor or the process that starts it lives (native/hold.c has the same rule)."""
        users = 0
        live = os.path.join(os.path.dirname(os.path.dirname(self._folder)), "live")
        for name in os.listdir(self._folder + "/users"):
            path = f"{self._folder}/users/{name}"
            try:
                pid, _, start = os.readlink(path).partition(".")
            except OSError:
                continue
            if process.alive(int(pid), int(start)) or any(_is_living_monitor(entry, name) for entry in os.listdir(live)):
                users += 1
            else:
                os.unlink(path)
        return users > 0


def _is_living_monitor(entry: str, container_id: str) -> bool:
    pid, _, rest = entry.partition(".")
    start, _, found = rest.partition(".")
    return found == container_id and pid.isdigit() and start.isdigit() and process.alive(int(pid), int(start))


class _SyncAgent(_Agent):
    def begin(self) -> None:
        """The pull. A server that is away is an error, unless the folder has been filled before: then it is worked on as it is."""
        from wherry.volume.s3sync import Sync

        self._last = time.monotonic()
        self._sync = Sync(self._volume + "/_data", self._volume + "/journal", Client(self._where, self._keys))
        try:
            self._pass()
        except S3Error as error:
            if not os.path.exists(self._volume + "/journal") or not os.path.exists(self._volume + "/pulled"):
                raise
            self._status["error"] = str(error)
        with open(self._volume + "/pulled", "w", encoding="ascii"):
            pass
        self._tell()

    def _pass(self) -> None:
        report = self._sync.run()
        self._status["conflicts"] = (self._status["conflicts"] + list(report.conflicts))[-100:]
        self._status["error"] = "; ".join(f"{path}: {reason}" for path, reason in report.left[:5])

    def _sent_all(self) -> bool:
        """One pass. What could not be fetched is no reason to wait: only what is here alone can be lost."""
        try:
            self._pass()
        except (S3Error, OSError) as error:
            self._status["error"] = str(error)
        self._status["unsent"] = [[path, 0] for path in self._sync.pending()]
        return not self._status["unsent"]

    def _tick(self) -> None:
        asked, begun = self._asked_to_flush(), time.time()
        late = time.monotonic() - self._last >= self._order["interval_s"]
        if asked > min(self._status["flushed"], self._status["passed"]) or late or self._status["leaving"]:
            if self._sent_all():
                self._status["flushed"] = max(asked, self._status["flushed"])
            self._last = time.monotonic()
            self._status["passed"] = begun
            self._tell()

    def _drained(self) -> bool:
        done = self._sent_all()
        if done:
            self._status["flushed"] = time.time()
        return done


class _MountAgent(_Agent):
    """rclone as a child, mounted below a shared mount: a mount that follows when it had to be started again is seen by the containers
    that have a slave of it."""

    def begin(self) -> None:
        from wherry.kernel import inroot

        self._place = self._folder + "/mnt"
        os.makedirs(self._place, 0o700, exist_ok=True)
        os.makedirs(self._volume + "/cache", 0o700, exist_ok=True)
        # Of the host, or of R, nothing is mounted: our namespace has its own view.
        inroot.unshare_mounts()
        inroot.bind_shared(self._place)
        # The shared mount itself, below what is mounted on it: containers clone it together with what lies on it at that moment, and
        # what comes later follows. By its path one would only reach the top.
        os.dup2(os.open(self._place, os.O_PATH | os.O_DIRECTORY), BELOW_FD)
        self._rc = self._folder + "/rclone.sock"
        self._child: subprocess.Popen[bytes] | None = None
        self._log = self._folder + "/rclone.log"
        self._start()
        self._tell()

    def _start(self) -> None:
        from wherry.volume import rclone

        if os.path.exists(self._rc):
            os.unlink(self._rc)
        before = os.stat(self._place).st_dev
        words = rclone.mount_words(
            self._order["rclone"], self._where, self._place, self._volume + "/cache", self._rc, read_only=self._order["mode"] == "ro"
        )
        with open(self._log, "ab") as log:
            self._child = subprocess.Popen(
                words, env=rclone.environment(self._where, self._keys), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + MOUNTED_S
        while time.monotonic() < end:
            # rclone says nothing when it is mounted, and mounts before it knows whether the bucket answers.
            if _device(self._place) not in (before, -1):
                return
            if self._child.poll() is not None:
                raise OSError(f"rclone ended with {self._child.returncode}: {self._last_words()}")
            time.sleep(0.02)
        self._child.kill()
        raise OSError(f"the bucket was not mounted within {MOUNTED_S:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        try:
            with open(self._log, "rb") as file:
                file.seek(max(0, os.path.getsize(self._log) - 2000))
                lines = file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else "it said nothing"

    def _tick(self) -> None:
        self._look()

    def _drained(self) -> bool:
        return self._look()

    def _look(self) -> bool:
        """Start rclone again when it is gone; note what it has not sent. True when there is nothing."""
        from wherry.kernel import inroot
        from wherry.volume import rclone

        assert self._child is not None
        if self._child.poll() is not None:
            self._status["error"] = f"rclone ended with {self._child.returncode} and was started again: {self._last_words()}"
            inroot.unmount(self._place)
            try:
                self._start()
            except OSError as error:
                self._status["error"] = str(error)
                self._tell()
                time.sleep(1.0)
                return False
        # A file that has just been closed comes into the queue a moment later.
        asked = self._asked_to_flush()
        settled = asked <= time.time() - SETTLED_S
        try:
            self._status["unsent"] = [list(item) for item in rclone.queue(self._rc)]
        except OSError:
            return False
        if not self._status["unsent"] and settled:
            self._status["flushed"] = max(asked, self._status["flushed"])
        self._tell()
        return not self._status["unsent"]

    def end(self) -> None:
        from wherry.kernel import inroot

        assert self._child is not None
        # First the connection is given up, then the process: a request that the kernel waits for must not hold us.
        inroot.unmount(self._place)
        self._child.terminate()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()


def _device(path: str) -> int:
    try:
        return os.stat(path).st_dev
    except OSError:
        return -1
