"""Standard input, pipes, half-close, and what happens when the other end goes away."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading

from support.engine import Wherry
from support.place import SOAK

MANY = (1 << 30) if SOAK else (32 << 20)


def test_input_is_empty_without_i(w: Wherry) -> None:
    assert w.ok("run", "--rm", "busybox", "cat", input="lost") == ""


def test_input_with_i(w: Wherry) -> None:
    assert w.ok("run", "--rm", "-i", "busybox", "cat", input="hello") == "hello"


def test_end_of_input_reaches_the_container_while_output_goes_on(w: Wherry) -> None:
    assert w.ok("run", "--rm", "-i", "busybox", "sh", "-c", "cat; sleep 0.2; echo after", input="before\n") == "before\nafter"


def test_input_s_end_does_not_wait_for_the_container(w: Wherry) -> None:
    """A container that never reads its input ends all the same."""
    assert w("run", "--rm", "-i", "busybox", "true", input="x" * 200000).returncode == 0


def test_much_goes_in_and_out_unharmed(w: Wherry) -> None:
    block = os.urandom(1 << 20)
    run = w.popen("run", "--rm", "-i", "busybox", "cat", stderr=subprocess.DEVNULL)
    sent, got = hashlib.sha256(), hashlib.sha256()

    def feed() -> None:
        for _ in range(MANY >> 20):
            sent.update(block)
            run.stdin.write(block)
        run.stdin.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    while data := run.stdout.read(1 << 20):
        got.update(data)
    feeder.join()
    run.stdout.close()
    assert run.wait(20) == 0
    assert got.hexdigest() == sent.hexdigest()


def test_slow_reader_loses_nothing(w: Wherry) -> None:
    run = w.popen("run", "--rm", "busybox", "sh", "-c", "seq 100000", stderr=subprocess.DEVNULL)
    import time

    time.sleep(0.5)
    out, _ = run.communicate(timeout=20)
    assert out.split() == [b"%d" % i for i in range(1, 100001)]
    assert run.returncode == 0


def test_reader_that_leaves_is_no_traceback(w: Wherry) -> None:
    done = w.host("sh", "-c", " ".join(w.words("run", "--rm", "busybox", "yes")) + " | head -n 1")
    assert done.stdout == "y\n"
    assert "Traceback" not in done.stderr


def test_detached_container_s_output_is_in_its_log(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "cd", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert w.ok("wait", "cd") == "0"
    done = w("logs", "cd")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_attached_container_s_output_is_in_its_log_too(w: Wherry) -> None:
    w.ok("run", "--name", "ca", "busybox", "echo", "hello")
    assert w.ok("logs", "ca") == "hello"


def test_attach_only_to_one_stream(w: Wherry) -> None:
    w("run", "--rm", "busybox", "true")
    done = w("run", "--rm", "-a", "stderr", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("", "err\n")


def test_attach_to_a_running_container_from_several_clients(w: Wherry) -> None:
    w.ok("run", "-d", "-i", "--name", "multi", "busybox", "sh", "-c", "while read line; do echo got $line; done; exit 9")
    first = w.popen("attach", "multi")
    second = w.popen("attach", "--no-stdin", "multi")
    import time

    time.sleep(0.5)
    first.stdin.write(b"one\n")
    first.stdin.flush()
    assert first.stdout.readline() == b"got one\n"
    assert second.stdout.readline() == b"got one\n"
    third = w.popen("attach", "multi")
    time.sleep(0.3)
    third.stdin.write(b"two\n")
    third.stdin.flush()
    for client in (first, second, third):
        assert client.stdout.readline() == b"got two\n"
    w.ok("kill", "multi")
    for client in (first, second, third):
        assert client.wait(10) == 137
        client.communicate()


def test_client_killed_leaves_a_detached_container_alone(w: Wherry) -> None:
    w.ok("run", "-d", "--name", "keep", "busybox", "sh", "-c", "while :; do echo x; sleep 0.05; done")
    client = w.popen("attach", "--no-stdin", "keep")
    assert client.stdout.readline() == b"x\n"
    client.kill()
    client.communicate()
    assert w.state("keep") == "running"
    w.until(lambda: len(w.ok("logs", "keep").split()) > 5)
