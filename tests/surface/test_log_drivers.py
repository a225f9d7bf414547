"""Log drivers and what goes with each line."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import Wherry


@pytest.fixture
def receiver(w_root: Wherry) -> Iterator[tuple[socket.socket, Path]]:
    path = w_root.folder("syslog") / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(10)
        yield listener, path


def test_syslog_gets_the_lines_and_logs_reads_them(w_root: Wherry, receiver: tuple[socket.socket, Path]) -> None:
    listener, path = receiver
    options = (
        "--log-opt",
        f"syslog-address=unixgram://{path}",
        "--log-opt",
        "tag={{.Name}}/{{.ImageName}}",
        "--log-opt",
        "syslog-facility=local3",
    )
    w_root.ok("run", "--name", "box", "--log-driver", "syslog", *options, "busybox", "sh", "-c", "echo out; sleep 0.2; echo err >&2")
    assert listener.recv(1000) == b"<158>box/busybox: out"  # local3 (19) * 8 + info
    assert listener.recv(1000) == b"<155>box/busybox: err"
    assert w_root.ok("logs", "box") == "out"
    assert w_root.ok("inspect", "-f", "{{.HostConfig.LogConfig.Type}}", "box") == "syslog"


def test_a_receiver_that_does_not_listen_holds_nobody_up(w_root: Wherry, receiver: tuple[socket.socket, Path]) -> None:
    _listener, path = receiver
    options = ("--log-opt", f"syslog-address=unixgram://{path}", "--log-opt", "mode=non-blocking")
    script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done"
    w_root.ok("run", "--name", "box", "--log-driver", "syslog", *options, "busybox", "sh", "-c", script)
    assert len(w_root.ok("logs", "box").splitlines()) == 3000


def test_journald_where_there_is_one(w_root: Wherry) -> None:
    words = ("run", "--name", "box", "--log-driver", "journald", "busybox", "echo", "hello")
    if not os.path.exists("/run/systemd/journal/socket"):
        assert "journald is not enabled on this host" in w_root(*words).stderr
        return
    w_root.ok(*words)
    ident = w_root.ok("ps", "-aq", "--no-trunc")
    found = w_root.until(lambda: w_root.host("journalctl", "-o", "json", f"CONTAINER_ID_FULL={ident}").stdout)
    entry = json.loads(found)
    assert (entry["MESSAGE"], entry["CONTAINER_NAME"], entry["PRIORITY"]) == ("hello", "box", "6")


def test_attributes_of_each_line(w: Wherry) -> None:
    options = ("--log-opt", "labels=a", "--log-opt", "env-regex=^F", "--log-opt", "tag={{.Name}}")
    w.ok("run", "--name", "box", "-l", "a=1", "-l", "b=2", "-e", "FOO=x<y", "-e", "BAR=z", *options, "busybox", "echo", "hello")
    path = w.root / "containers" / w.ids()[0] / "log.json"
    entry = json.loads(path.read_text())
    assert entry["attrs"] == {"a": "1", "FOO": "x<y", "tag": "box"} and entry["log"] == "hello\n"
    assert w.ok("logs", "--details", "box") == "FOO=x%3Cy,a=1,tag=box hello"
    assert w.ok("logs", "box") == "hello"


def test_local_rotates_and_can_be_read(w_user: Wherry) -> None:
    w_user.ok(
        "run", "--name", "box", "--log-driver", "local", "--log-opt", "max-size=2k", "--log-opt", "max-file=2", "busybox", "seq", "200"
    )
    lines = w_user.ok("logs", "box").splitlines()
    assert lines[-1] == "200" and len(lines) < 200


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--log-driver nothing", "no log driver named 'nothing' is registered"),
        ("--log-driver json-file --log-opt colour=red", "unknown log opt 'colour' for json-file log driver"),
        ("--log-opt mode=hurried", "logging mode not supported: hurried"),
        ("--log-opt max-buffer-size=1m", "only supported with 'mode=non-blocking'"),
        ("--log-opt compress=true", "compress=true is not supported"),
        ("--log-driver passthrough", "stay attached"),
        ("--log-driver syslog --log-opt syslog-address=tcp://1.2.3.4:5", "syslog-address=tcp://1.2.3.4:5 is not supported"),
        ("--log-driver syslog --log-opt syslog-address=unixgram:///nothing", "nobody listens at /nothing"),
        ("--log-opt tag={{.Colour}}", "a template may hold"),
    ],
)
def test_what_is_refused(w_user: Wherry, words: str, text: str) -> None:
    done = w_user("run", "--rm", *words.split(), "busybox", "true")
    assert done.returncode == 125 and text in done.stderr, done.stderr
