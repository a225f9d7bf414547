"""The resolver of names in the monitor, as docs/internals/names.md says, asked from inside the container."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from native import driver
from native.driver import NAMES, Native, Process, until
from support import dns

CLIENT = Path(__file__).with_name("dns_client.py")
WEB, DB = "a" * 12, "b" * 12


class Names:
    """A running container with a resolver, and one client in its network namespace."""

    def __init__(self, native: Native, settings: list[str], names: str, *, late: bool = False) -> None:
        self.native, self.c = native, native.container()
        self.folder = native.place / "run/net/names"
        self.folder.mkdir(parents=True)
        self.set(settings)
        self.names(names)
        self.c.argv, self.c.stdio = ["sh", "-c", "echo up; read x"], (0, 1, 1, 0, 0)
        if not late:
            self.c.mounts = [("LOOPBACK",), ("RESOLVER",)]
        self.running: Process = native.run(self.c)
        assert self.running.failed is None, self.running.failed
        join = ["nsenter", f"--net=/proc/{self.running.pid}/ns/net"]
        if os.geteuid():
            join = ["nsenter", "-t", str(self.running.pid), "-U", "-n", "--preserve-credentials"]
        words = [*join, sys.executable, "-I", "-S", str(CLIENT)]
        self.client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.took_ms = 0

    def close(self) -> None:
        assert self.client.stdin and self.client.stdout
        self.client.stdin.close()
        self.client.wait(10)
        self.client.stdout.close()
        self.running.end(b"\n")

    def _replace(self, path: Path, text: str) -> None:
        new = path.with_name(path.name + ".new")
        new.write_text(text)
        for p in (self.native.place / "run/net", self.folder, new):
            os.chown(p, self.native.user.uid, self.native.user.gid)
        new.rename(path)

    def set(self, settings: list[str]) -> None:
        self._replace(self.c.run / "resolv", "".join(f"{line}\n" for line in settings))

    def names(self, text: str, net: str = "net1") -> None:
        self._replace(self.folder / net, text)

    def raw(self, message: bytes, how: str = "udp", seconds: float = 8.0) -> bytes | None:
        assert self.client.stdin and self.client.stdout
        self.client.stdin.write(f"{how} {seconds} {message.hex()}\n")
        self.client.stdin.flush()
        text, took = self.client.stdout.readline().split()
        self.took_ms = int(took)
        return None if text == "-" else bytes.fromhex(text)

    def ask(self, name: str, kind: int = dns.A, how: str = "udp", edns: int = 0) -> dns.Answer:
        got = self.raw(dns.query(name, kind, edns=edns), how)
        assert got is not None, f"no answer about {name}"
        said = dns.read(got)
        assert said.ident == 0x1234
        return said


NAMES_TEXT = f"10.1.0.2,fd00::2 web shop {WEB}\n10.1.0.3 db shop {DB}\n"


@pytest.fixture
def started() -> Iterator[list[Names]]:
    all_of_them: list[Names] = []
    yield all_of_them
    for one in all_of_them:
        one.close()


def local(native: Native, started: list[Names], *servers: dns.Server, names: str = NAMES_TEXT, more: tuple[str, ...] = ()) -> Names:
    one = Names(native, ["network shopnet net1", *(f"server 127.0.0.1#{s.port}" for s in servers), *more], names)
    started.append(one)
    return one


@pytest.mark.parametrize("how", ["udp", "tcp"])
def test_names_of_the_network_are_answered(native: Native, started: list[Names], how: str) -> None:
    n = local(native, started)
    assert n.ask("web", how=how).records == ["10.1.0.2"]
    assert n.ask("WEB", how=how).records == ["10.1.0.2"]
    assert n.ask("web", dns.AAAA, how=how).records == ["fd00::2"]
    assert sorted(n.ask("web", dns.ANY, how=how).records) == ["10.1.0.2", "fd00::2"]
    assert n.ask("web.shopnet", how=how).records == ["10.1.0.2"]
    assert n.ask(DB, how=how).records == ["10.1.0.3"]
    assert n.ask("3.0.1.10.in-addr.arpa", dns.PTR, how=how).records == ["db.shopnet"]
    six = ".".join("fd000000000000000000000000000002"[::-1])
    assert n.ask(f"{six}.ip6.arpa", dns.PTR, how=how).records == ["web.shopnet"]
    nobody = n.ask("nobody", how=how)
    assert (nobody.rcode, nobody.records) == (dns.SERVFAIL, []), "no server to ask"


def test_all_addresses_of_an_alias_come_in_turn(native: Native, started: list[Names]) -> None:
    n = local(native, started)
    seen = [n.ask("shop").records for _ in range(4)]
    assert {tuple(sorted(s)) for s in seen} == {("10.1.0.2", "10.1.0.3")}
    assert [s[0] for s in seen] in (["10.1.0.2", "10.1.0.3"] * 2, ["10.1.0.3", "10.1.0.2"] * 2)


def test_changes_are_seen_with_the_next_question(native: Native, started: list[Names]) -> None:
    n = local(native, started)
    for i in range(5, 30):
        n.names(f"10.1.0.{i} web {WEB}\n")
        assert n.ask("web").records == [f"10.1.0.{i}"]
    n.names(f"10.2.0.9 far {DB}\n", "net2")
    n.set(["network shopnet net1", "network other net2"])
    assert n.ask("far").records == ["10.2.0.9"]
    assert n.ask("far.other").records == ["10.2.0.9"]
    assert n.ask("far.shopnet").rcode == dns.SERVFAIL


def test_what_is_ours_is_not_asked_outside_and_the_rest_is(native: Native, started: list[Names]) -> None:
    with dns.Server(lambda q, _how: [dns.answer(q, ["192.0.2.1"])]) as up:
        n = local(native, started, up)
        assert n.ask("db", dns.AAAA) == (0x1234, dns.NOERROR, False, [], n.ask("db", dns.AAAA).size)
        assert n.ask("db", dns.TXT).records == []
        assert n.ask("2.0.1.10.in-addr.arpa", dns.PTR).records == ["web.shopnet"]
        assert up.asked == []
        assert n.ask("example.org").records == ["192.0.2.1"]
        assert n.ask("example.org", how="tcp").records == ["192.0.2.1"]
        assert up.asked == ["example.org"] * 2


def test_large_answers_of_our_own(native: Native, started: list[Names]) -> None:
    many = "".join(f"10.1.{i // 250}.{i % 250 + 1} node {i:012x}\n" for i in range(1000))
    n = local(native, started, names=many)
    small, middle = n.ask("node"), n.ask("node", edns=1232)
    assert small.cut and small.size <= 512 and 20 < len(small.records) < 40
    assert middle.cut and 512 < middle.size <= 1232
    whole = n.ask("node", how="tcp")
    assert not whole.cut and len(set(whole.records)) == 1000


def test_large_answers_of_servers(native: Native, started: list[Names]) -> None:
    addresses = [f"192.0.2.{i % 250}" for i in range(3000)]

    def behave(q: bytes, how: str) -> list[bytes]:
        return [dns.answer(q, addresses if how == "tcp" else addresses[:200], cut=how == "udp")]

    with dns.Server(behave) as up:
        n = local(native, started, up)
        assert n.ask("big.example", edns=4096).cut
        assert n.ask("big.example", how="tcp").records == addresses


def test_servers_are_asked_in_parallel_and_the_first_one_knows_best(native: Native, started: list[Names]) -> None:
    with (
        dns.Server(lambda q, _how: [dns.answer(q, ["192.0.2.1"])], delay_s=0.3) as first,
        dns.Server(lambda q, _how: [dns.answer(q, [], dns.NXDOMAIN)]) as second,
        dns.Server(lambda q, _how: [dns.answer(q, [], dns.SERVFAIL)]) as third,
        dns.Server(lambda _q, _how: []) as silent,
    ):
        n = local(native, started, first, second, third)
        assert n.ask("inside.example").records == ["192.0.2.1"], "that another one knows no such name doesn't count yet"
        n.set([f"server 127.0.0.1#{silent.port}", f"server 127.0.0.1#{second.port}"])
        assert n.ask("a.example").rcode == dns.NXDOMAIN and 900 <= n.took_ms < 1900
        n.set([f"server 127.0.0.1#{silent.port}", f"server 127.0.0.1#{first.port}"])
        assert n.ask("a.example").records == ["192.0.2.1"] and n.took_ms < 900
        n.set([f"server 127.0.0.1#{third.port}"])
        assert n.ask("a.example").rcode == dns.SERVFAIL and n.took_ms < 900
        assert n.ask("a.example", how="tcp").rcode == dns.SERVFAIL


def test_a_lost_answer_costs_a_second(native: Native, started: list[Names]) -> None:
    count = 0

    def behave(q: bytes, _how: str) -> list[bytes]:
        nonlocal count
        count += 1
        return [dns.answer(q, ["192.0.2.1"])] if count > 1 else []

    with dns.Server(behave) as up:
        n = local(native, started, up)
        assert n.ask("a.example").records == ["192.0.2.1"]
        assert 900 <= n.took_ms < 1900


def test_slow_servers_do_not_delay_local_names(native: Native, started: list[Names]) -> None:
    with dns.Server(lambda _q, _how: []) as silent:
        n = local(native, started, silent)
        for i in range(300):
            n.raw(dns.query(f"n{i}.example"), seconds=0.001)
        assert n.ask("web").records == ["10.1.0.2"]
        assert n.took_ms < 500


def test_forged_answers_are_not_believed(native: Native, started: list[Names]) -> None:
    def forged(q: bytes, _how: str) -> list[bytes]:
        other_id = bytes([q[0] ^ 1, *q[1:]])
        other_name = q[:12] + dns.query("evil.example")[12:]
        good = dns.answer(q, ["192.0.2.1"])
        return [
            dns.answer(other_id, ["6.6.6.1"]),
            dns.answer(other_name, ["6.6.6.2"]),
            good[:2] + bytes([good[2] & 0x7F]) + good[3:],
            good[:11],
            b"",
            good,
        ]

    with dns.Server(forged) as up:
        n = local(native, started, up)
        assert n.ask("a.example").records == ["192.0.2.1"]


def test_malformed_questions_are_refused_or_ignored(native: Native, started: list[Names]) -> None:
    n = local(native, started)
    head = bytes.fromhex("1234 0100 0001 0000 0000 0000")
    loop = head + b"\xc0\x0c\0\1\0\1"
    long = head + b"".join(b"\x3f" + b"a" * 63 for _ in range(4)) + b"\0\0\1\0\1"
    for bad in (loop, long, head + b"\x05ab", head + b"\3web\0\0", head[:4] + b"\0\2" + head[6:]):
        got = n.raw(bad)
        assert got is not None and dns.read(got[:4] + bytes(8)).rcode == dns.FORMERR, bad
    status = n.raw(bytes.fromhex("1234 1000 0001 0000 0000 0000") + dns.query("web")[12:])
    assert status is not None and status[3] & 15 == dns.NOTIMP
    assert n.raw(dns.answer(dns.query("web"), []), seconds=0.2) is None, "answers are not answered"
    assert n.raw(b"x", seconds=0.2) is None
    assert n.ask("web").records == ["10.1.0.2"]


def test_port_53_is_left_to_the_containers_own_server(native: Native, started: list[Names]) -> None:
    one = local(native, started)
    assert one.raw(b"?", "bind") == b"ok"
    assert one.ask("web").records == ["10.1.0.2"]
    assert one.ask("web", how="tcp").records == ["10.1.0.2"]


def test_a_container_that_runs_gets_one_when_it_is_connected(native: Native, started: list[Names]) -> None:
    one = Names(native, [], "", late=True)
    started.append(one)
    assert one.raw(dns.query("web"), seconds=0.2) is None
    with native.connect(one.c) as s:
        for _ in range(2):
            s.sendall(driver.message(NAMES))
            assert driver.received(s.recv(driver.RECORD))[0] == driver.OK
    one.names(NAMES_TEXT)
    one.set(["network shopnet net1"])
    assert one.ask("web").records == ["10.1.0.2"]


def test_it_is_there_again_after_a_restart(native: Native, started: list[Names]) -> None:
    c = native.container()
    c.argv, c.mounts = ["sh", "-c", "nslookup web 127.0.0.11; exit 1"], [("LOOPBACK",), ("RESOLVER",)]
    c.monitor = [("RESTART", "on-failure", 2)]
    folder = native.place / "run/net/names"
    folder.mkdir(parents=True)
    (folder / "net1").write_text(f"10.1.0.2 web {WEB}\n")
    (c.run / "resolv").write_text("network shopnet net1\n")
    done = native.run(c).end()
    assert done.out.count(b"10.1.0.2") == 3, done


def test_it_costs_the_monitor_next_to_nothing(native: Native, started: list[Names]) -> None:
    def private(pid: int) -> int:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private"))

    with dns.Server(lambda q, _how: [dns.answer(q, ["192.0.2.1"])]) as up:
        n = local(native, started, up)
        plain = native.container("plain")
        plain.argv, plain.stdio = ["sh", "-c", "read x"], (0, 1, 1, 0, 0)
        other = native.run(plain)
        for i in range(50):
            n.ask("web", how="tcp" if i % 2 else "udp"), n.ask("a.example", how="tcp" if i % 2 else "udp")
        assert until(lambda: private(n.running.monitor) - private(other.monitor) <= 20, 6.0), (
            private(n.running.monitor),
            private(other.monitor),
        )
        other.end(b"\n")
