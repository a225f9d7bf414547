"""An ordinary user's networks: the same words, inside one namespace of his own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.engine import Wherry

from .conftest import forget_networks
from .test_bridge import HTTPD, SERVER, address, fetched, free_port
from .world import Outside, has, until_served


@pytest.fixture
def uw(w_user: Wherry) -> Iterator[Wherry]:
    yield w_user
    forget_networks(w_user)


def test_a_user_reaches_outside_and_is_reached_on_a_published_port(uw: Wherry, outside: Outside) -> None:
    outside.start(sys.executable, SERVER, outside.there, "8000")
    until_served(outside, 8000)
    assert uw.ok("run", "--rm", "busybox", "wget", "-qO-", f"http://{outside.there}:8000/") == outside.here
    port = free_port()
    uw.ok("run", "-d", "--name", "web", "-p", f"{port}:80", "busybox", "sh", "-c", HTTPD)
    uw.until(lambda: uw("exec", "web", "wget", "-qO-", "http://127.0.0.1/").returncode == 0)
    assert outside.get(f"http://{outside.here}:{port}/") == "hello\n"
    seen = uw("logs", "web")
    assert outside.there in seen.stdout + seen.stderr
    assert uw.ok("port", "web", "80").splitlines()[0] == f"0.0.0.0:{port}"


def test_a_users_networks_have_names_and_do_not_reach_each_other(uw: Wherry, outside: Outside) -> None:
    for words in (("left",), ("right",), ("--internal", "inner")):
        uw.ok("network", "create", *words)
    uw.ok("run", "-d", "--name", "target", "--network", "left", "busybox", "sh", "-c", HTTPD)
    uw.until(lambda: fetched(uw, "http://target/", "--network", "left"))
    target = address(uw, "target", "left")
    assert not fetched(uw, f"http://{target}/", "--network", "right")
    assert not fetched(uw, f"http://{target}/")
    outside.start(sys.executable, SERVER, outside.there, "8000")
    until_served(outside, 8000)
    assert fetched(uw, f"http://{outside.there}:8000/", "--network", "right")
    assert not fetched(uw, f"http://{outside.there}:8000/", "--network", "inner")
    uw.ok("run", "-d", "--name", "mover", "busybox", "sleep", "100")
    uw.ok("network", "connect", "left", "mover")
    assert target in uw.ok("exec", "mover", "ping", "-c1", "-W2", "target")
    uw.ok("network", "disconnect", "left", "mover")
    assert uw("exec", "mover", "ping", "-c1", "-W1", target).returncode != 0


def test_other_peoples_firewall_gets_one_marked_rule_that_leaves_again(w_root: Wherry) -> None:
    if not has("iptables") or not has("unshare"):
        pytest.skip("iptables and unshare are not installed")
    wherry = " ".join(w_root.words())
    script = f"iptables -P FORWARD DROP && {wherry} network reload && iptables -S FORWARD; {wherry} network down && echo -- && iptables -S FORWARD"
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, **w_root.options({}))
    before, _, after = done.stdout.partition("--\n")
    link = json.loads(w_root.ok("network", "inspect", "-f", "{{json .Wherry.Link}}", "bridge"))
    assert f"-A FORWARD -i {link} " in before and f"-A FORWARD -o {link} " in before, done
    assert after == "-P FORWARD DROP\n"
