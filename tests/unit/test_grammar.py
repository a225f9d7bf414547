"""Names, sizes, limits, times, mounts: docker's own tables of cases where the reference data is at hand, and ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wherry.errors import WherryError
from wherry.model import (
    caps,
    devices,
    digest,
    duration,
    envfile,
    mounts,
    names,
    numbers,
    ports,
    reference,
    restart,
    signals,
    sizes,
    times,
    ulimit,
)  # fmt: skip


def table(shared: Path, name: str) -> dict[str, list[object]]:
    return json.loads((shared / f"data/tables/{name}.json").read_text())  # type: ignore[no-any-return]


def accepted(text: str) -> bool:
    try:
        reference.parse(text)
    except WherryError:
        return False
    return True


def test_names_that_docker_takes_and_refuses(shared: Path) -> None:
    cases = table(shared, "reference_normalize")
    assert [n for n in cases["valid_names"] if not accepted(str(n))] == []
    assert [n for n in cases["invalid_names"] if accepted(str(n))] == []


def test_names_in_their_three_forms(shared: Path) -> None:
    for case in table(shared, "reference_normalize")["repository_info"]:
        assert isinstance(case, dict)
        for text in (case["FullName"], case["FamiliarName"], case["AmbiguousName"]):
            if not text:
                continue
            found = reference.parse(text)
            assert (found.repository, found.familiar_repository, found.domain, found.path) == (
                case["FullName"],
                case["FamiliarName"],
                case["Domain"],
                case["RemoteName"],
            ), case


def test_tag_and_digest_are_told_apart(shared: Path) -> None:
    for case in table(shared, "reference_parse")["cases"]:
        assert isinstance(case, dict)
        if case.get("err") or not case.get("domain"):
            continue
        try:
            found = reference.parse(case["input"])
        except WherryError:
            continue
        assert (found.tag, found.digest) == (case.get("tag", ""), case.get("digest", "")), case


def test_sizes_as_docker_reads_and_prints_them(shared: Path) -> None:
    cases = table(shared, "sizes")
    for function, text, expected in cases["ok"]:  # type: ignore[misc]
        base = 1000 if function == "FromHumanSize" else 1024
        assert sizes.parse_bytes(text, base=base) == expected, text
    for function, text in cases["error"]:  # type: ignore[misc]
        with pytest.raises(WherryError):
            sizes.parse_bytes(text, base=1000 if function == "FromHumanSize" else 1024)
    for function, expected, size in cases["format"]:  # type: ignore[misc]
        if function in ("BytesSize", "HumanSize") and isinstance(size, int | float):
            assert (sizes.human_binary if function == "BytesSize" else sizes.human)(size) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nofile=512:1024", {"Name": "nofile", "Soft": 512, "Hard": 1024}),
        ("nofile=1024", {"Name": "nofile", "Soft": 1024, "Hard": 1024}),
        ("cpu=2:4", {"Name": "cpu", "Soft": 2, "Hard": 4}),
        ("core=-1", {"Name": "core", "Soft": -1, "Hard": -1}),
    ],
)
def test_ulimits(text: str, expected: dict[str, object]) -> None:
    assert ulimit.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "notarealtype=1024:1024",
        "nofile=",
        "nofile=:",
        "nofile=:1024",
        "nofile=1024:1:50",
        "nofile=1024:512=extra",
        "nofile",
        "nofile=2:1",
        "nofile=-1:1024",
    ],
)
def test_ulimits_that_make_no_sense(text: str) -> None:
    with pytest.raises(WherryError):
        ulimit.parse(text)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "Less than a second"), (1, "1 second"), (45, "45 seconds"), (60, "About a minute"), (89, "About a minute"), (120, "2 minutes"),
        (3600, "About an hour"), (3 * 3600, "3 hours"), (35 * 3600, "35 hours"), (2 * 86400, "2 days"), (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"), (30 * 86400, "4 weeks"), (60 * 86400, "2 months"), (700 * 86400, "23 months"), (730 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_time_spans_in_docker_s_words(seconds: int, expected: str) -> None:
    assert duration.human(seconds * 1_000_000_000) == expected


@pytest.mark.parametrize(
    ("text", "ns"), [("1h30m", 5400 * 10**9), ("250ms", 250 * 10**6), ("1.5s", 1500 * 10**6), ("0", 0), ("-2m", -120 * 10**9)]
)
def test_durations(text: str, ns: int) -> None:
    assert duration.parse(text) == ns


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1h x", "1..5s"])
def test_durations_that_go_refuses(text: str) -> None:
    with pytest.raises(WherryError):
        duration.parse(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-24T12:30:15.5Z", 1795523415_500000000),
        ("2026-11-24T13:30:15.5+01:00", 1795523415_500000000),
        ("2000-02-29T00:00:00.000000001Z", 951782400_000000001),
    ],
)
def test_times(text: str, ns: int) -> None:
    assert times.parse_ns(text) == ns
    assert times.parse_ns(times.format_ns(ns)) == ns


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-01-01T25:00:00Z", ""])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(WherryError):
        times.parse_ns(text)


def test_since_is_a_time_seconds_or_a_duration() -> None:
    now = 1_000_000_000_000_000_000
    assert times.parse_since("10m", now) == now - 600 * 10**9
    assert times.parse_since("12.25", now) == 12_250_000_000
    assert times.parse_since("1970-01-01T00:00:01Z", now) == 10**9


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("/a:/b", {"type": "bind", "source": "/a", "target": "/b", "create_source": True}),
        ("/a:/b:ro,rslave,z", {"read_only": True, "propagation": "rslave", "options": ("ro", "rslave", "z")}),
        ("name:/b", {"type": "volume", "source": "name"}),
        ("/b", {"type": "volume", "source": "", "target": "/b"}),
        ("/a:/b:U,O", {"chown": True, "overlay": True}),
    ],
)
def test_volume_flag(text: str, fields: dict[str, object]) -> None:
    spec = mounts.parse_volume(text)
    assert {k: getattr(spec, k) for k in fields} == fields


@pytest.mark.parametrize(
    "text", ["", ":", "/a:", "/a:/b:ro:x", "/a:/b:ro,rw", "/a:/b:what", "/a:b", "/a:/", "/a:rw", "n:/b:rshared", "/a:/b:z,Z"]
)
def test_volume_flags_that_docker_refuses(text: str) -> None:
    with pytest.raises(WherryError):
        mounts.parse_volume(text)


def test_both_spellings_of_a_bind_mean_the_same() -> None:
    short, long = mounts.parse_volume("/a:/b:ro,rshared"), mounts.parse_mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rshared")
    for field in ("type", "source", "target", "read_only", "propagation"):
        assert getattr(short, field) == getattr(long, field)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=0700", {"tmpfs_size": 1 << 20, "tmpfs_mode": 0o700}),
        ('type=bind,"source=/a,b",target=/t', {"source": "/a,b"}),
        ("TYPE=bind,SRC=/a,TARGET=/t,readonly=false", {"read_only": False}),
        ("type=bind,source=/a,target=/t,readonly,bind-propagation=rprivate,bind-recursive=readonly", {"bind_recursive": "readonly"}),
    ],
)
def test_mount_flag(text: str, fields: dict[str, object]) -> None:
    spec = mounts.parse_mount(text)
    assert {k: getattr(spec, k) for k in fields} == fields


@pytest.mark.parametrize(
    "text",
    [
        "type=bind,target=/t",
        "type=what,target=/t",
        "type=bind,source=/a",
        "type=bind,source=/a,target=t",
        "type=tmpfs,target=/t,size",
        "type=bind,source=/a,target=/t,nosuch=1",
        "type=bind,source =/a,target=/t",
        "type=bind,source=/a,target=/t,readonly=maybe",
        "type=tmpfs,target=/t,tmpfs-mode=9",
        'type=bind,"source=/a',
    ],
)
def test_mount_flags_that_docker_refuses(text: str) -> None:
    with pytest.raises(WherryError):
        mounts.parse_mount(text)


def test_env_file_by_docker_s_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_CALLER", "x y")
    path = tmp_path / "env"
    path.write_bytes('\ufeffA=1\n  B=two words  \n# comment\n\nQ="quoted"\nFROM_CALLER\nNOT_THERE\nE=\n'.encode())
    assert envfile.read_file(str(path)) == ["A=1", "B=two words  ", 'Q="quoted"', "FROM_CALLER=x y", "E="]
    for bad in (b"a b=c\n", b"=x\n", b"A=\xff\n"):
        path.write_bytes(bad)
        with pytest.raises(WherryError):
            envfile.read_file(str(path))


def test_signals() -> None:
    assert [signals.number(t) for t in ("TERM", "sigkill", "9", "SIGRTMIN", "RTMIN+3", "RTMAX-1")] == [15, 9, 9, 34, 37, 63]
    assert [signals.number(t) for t in ("", "NOPE", "0", "65", "RTMIN-1", "RTMIN+99")] == [None] * 6
    assert signals.name(15) == "SIGTERM"


def test_capabilities() -> None:
    assert caps.merged((), ()) == tuple(n for n in caps.NAMES if n in caps.DEFAULT)
    assert caps.merged((), ("ALL",)) == ()
    assert caps.merged(("net_admin",), ("ALL",)) == ("NET_ADMIN",)
    assert "SYS_ADMIN" not in caps.merged(("ALL",), ("CAP_SYS_ADMIN",)) and len(caps.merged(("ALL",), ())) == len(caps.NAMES)
    assert caps.bits(("CHOWN", "CAP_NET_RAW")) == 1 | 1 << 13
    with pytest.raises(WherryError):
        caps.merged(("NOPE",), ())


def test_restart_policies() -> None:
    assert restart.parse("on-failure:3") == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert restart.parse("") == {"Name": "no", "MaximumRetryCount": 0}
    for bad in ("sometimes", "always:3", "on-failure:x"):
        with pytest.raises(WherryError):
            restart.parse(bad)


def test_devices() -> None:
    assert devices.parse("/dev/a:/dev/b:rw") == {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rw"}
    assert devices.parse("/dev/a:r")["CgroupPermissions"] == "r"
    for bad in ("", "/dev/a:/dev/b:rx", "/dev/a:/dev/b:rw:x"):
        with pytest.raises(WherryError):
            devices.parse(bad)


def test_names_and_ids() -> None:
    assert [names.is_valid(n) for n in ("ab", "a.b_c-1", "0a")] == [True] * 3
    assert [names.is_valid(n) for n in ("a", "", "-ab", "a b", "ä1", "a/b")] == [False] * 6
    for _ in range(50):
        found = names.new_id()
        assert len(found) == 64 and not found[:12].isdigit() and digest.is_digest("sha256:" + found)
        assert names.is_valid(names.random_name()) and names.random_name(1)[-1].isdigit()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [("80/tcp", "", "")]),
        ("80/UDP", [("80/udp", "", "")]),
        ("8080:80", [("80/tcp", "", "8080")]),
        ("127.0.0.1:8080:80/sctp", [("80/sctp", "127.0.0.1", "8080")]),
        ("192.168.1.100::80", [("80/tcp", "192.168.1.100", "")]),
        ("[::1]::53/udp", [("53/udp", "::1", "")]),
        ("1234-1235:3333-3334", [("3333/tcp", "", "1234"), ("3334/tcp", "", "1235")]),
        ("8000-8010:80", [("80/tcp", "", "8000-8010")]),
        ("published=8080,target=80,protocol=udp", [("80/udp", "", "8080")]),
        ("target=80", [("80/tcp", "", "")]),
    ],
)
def test_published_ports(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(p.key, p.host_ip, p.host_port) for p in ports.parse_publish(text)] == expected


def test_published_ports_of_docker_s_table(shared: Path) -> None:
    cases = table(shared, "port_specs")
    for case in cases["ParsePortSpec"]:
        assert isinstance(case, dict)
        if case["error"]:
            with pytest.raises(WherryError) as caught:
                ports.parse_publish(case["spec"])
            assert str(caught.value) == case["error"]
            continue
        found = ports.parse_publish(case["spec"])
        assert [p.key for p in found] == case["ports"] and [p.host_ip for p in found] == case["hostip"], case
        assert [p.host_port for p in found] == case["hostport"], case
    for text in cases["valid"]:
        # The table mixes in words for other functions: a name or a lone address is no port, nor is -1.
        if not str(text).startswith("localhost") and str(text) != "192.168.1.100" and "-1:-1" not in str(text):
            ports.parse_publish(str(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no port specified: <empty>"),
        ("80:", "no port specified: 80:<empty>"),
        ("x", "invalid containerPort: x"),
        ("65536", "invalid containerPort: 65536"),
        ("90-80", "invalid containerPort: 90-80"),
        ("x:80", "invalid hostPort: x"),
        ("80/x", "invalid proto: x"),
        ("localhost:80:80", "invalid IP address: localhost"),
        ("1-3:4-5", "invalid ranges specified for container and host Ports: 4-5 and 1-3"),
        ("published=1", "missing mandatory field 'target'"),
        ("target=80,x=y", "invalid field key: x"),
    ],
)
def test_published_ports_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(WherryError) as caught:
        ports.parse_publish(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("-7", -7), ("+7", 7), ("0x1F", 31), ("0b11", 3), ("0o17", 15), ("017", 15)])
def test_numbers_of_flags(text: str, value: int) -> None:
    assert numbers.parse_int(text, base=0) == value


@pytest.mark.parametrize("text", ["", "-", "--1", "+-1", " 1", "1 ", "x", "1x", "08", "0x", "1.5", "٣", "_1"])
def test_numbers_that_go_refuses(text: str) -> None:
    with pytest.raises(WherryError):
        numbers.parse_int(text, base=0)
    assert numbers.parse_int("08") == 8
