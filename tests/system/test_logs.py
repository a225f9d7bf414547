"""`logs`: docker's json-file lines, rotated by the monitor."""

from __future__ import annotations

import json
import re
import time

from support.engine import Wherry


def log_files(w: Wherry, name: str) -> list[bytes]:
    path = w.ok("inspect", "-f", "{{.LogPath}}", name)
    folder = w.root / "containers" / w.ok("inspect", "-f", "{{.Id}}", name)
    assert path.startswith(str(folder))
    return [p.read_bytes() for p in sorted(folder.glob("log.json*"), reverse=True)]


def test_lines_are_docker_s_json(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "sh", "-c", r"echo out; echo err >&2; printf '<&>\001\377\"\n'; printf tail")
    w.ok("wait", "cx")
    text = b"".join(log_files(w, "cx"))
    lines = [json.loads(line) for line in text.decode().splitlines()]
    assert {(e["log"], e["stream"]) for e in lines} >= {("out\n", "stdout"), ("err\n", "stderr"), ("tail", "stdout")}
    assert any("<&>" in e["log"] for e in lines)
    assert rb"\u003c\u0026\u003e" in text
    for e in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", e["time"])


def test_tail(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "seq", "100")
    w.ok("wait", "cx")
    assert w.ok("logs", "cx").split() == [str(i) for i in range(1, 101)]
    assert w.ok("logs", "--tail", "3", "cx").split() == ["98", "99", "100"]
    assert w.ok("logs", "-n", "0", "cx") == ""
    assert len(w.ok("logs", "--tail", "all", "cx").split()) == 100


def test_timestamps_since_until(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "sh", "-c", "echo one; sleep 1.2; echo two")
    w.ok("wait", "cx")
    stamped = [line.split(" ", 1) for line in w.ok("logs", "-t", "cx").splitlines()]
    assert [text for _, text in stamped] == ["one", "two"]
    second = stamped[1][0]
    assert w.ok("logs", "--since", second, "cx") == "two"
    assert w.ok("logs", "--until", stamped[0][0], "cx") in ("one", "")
    assert w.ok("logs", "--since", "10m", "cx") == "one\ntwo"
    assert w.ok("logs", "--until", "10m", "cx") == ""


def test_follow_ends_with_the_container(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done")
    assert w.ok("logs", "-f", "cx").split() == ["1", "2", "3", "4", "5"]


def test_follow_shows_lines_as_they_come(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.4; done; sleep 100")
    follow = w.popen("logs", "-f", "cx")
    start = time.monotonic()
    assert [follow.stdout.readline() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
    assert time.monotonic() - start < 5
    follow.kill()
    follow.communicate()


def test_follow_over_a_restart(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo run; sleep 0.3; exit 1")
    assert w.ok("logs", "-f", "cx").split() == ["run"] * 3


def test_rotation_keeps_the_newest(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "--log-opt", "max-size=20k", "--log-opt", "max-file=3", "busybox", "seq", "5000")
    w.ok("wait", "cx")
    files = log_files(w, "cx")
    assert 1 < len(files) <= 3
    assert all(len(f) <= 21 * 1024 for f in files)
    numbers = [int(n) for n in w.ok("logs", "cx").split()]
    assert numbers == list(range(numbers[0], 5001))


def test_follow_over_rotation_loses_nothing(w: Wherry) -> None:
    script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); seq $((i*100)) $((i*100+99)); sleep 0.05; done"
    w.ok("run", "-d", "--name", "cx", "--log-opt", "max-size=100k", "--log-opt", "max-file=4", "busybox", "sh", "-c", script)
    assert [int(n) for n in w.ok("logs", "-f", "cx").split()] == list(range(100, 6100))


def test_rotated_by_default(w: Wherry) -> None:
    w.ok("create", "--name", "cx", "busybox")
    config = json.loads(w.ok("inspect", "-f", "{{json .HostConfig.LogConfig}}", "cx"))
    assert config["Type"] == "json-file"


def test_driver_none(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "--log-driver", "none", "busybox", "echo", "hello")
    w.ok("wait", "cx")
    done = w("logs", "cx")
    assert done.returncode == 1 and "configured logging driver does not support reading" in done.stderr


def test_long_lines_are_split_and_put_together(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cx", "busybox", "sh", "-c", "head -c 50000 /dev/zero | tr '\\0' x; echo")
    w.ok("wait", "cx")
    lines = [json.loads(line)["log"] for line in b"".join(log_files(w, "cx")).decode().splitlines()]
    assert max(map(len, lines)) <= 16384 + 1
    assert w.ok("logs", "cx") == "x" * 50000


def test_unknown_container(w: Wherry) -> None:
    done = w("logs", "nobody")
    assert done.returncode == 1 and "No such container: nobody" in done.stderr
