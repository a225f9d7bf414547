"""The plan: its wire format, and that Python and the launcher agree on the operations."""

from __future__ import annotations

import pathlib
import re

import pytest

from wherry.errors import InvalidArgument
from wherry.runtime.ops import OPS
from wherry.runtime.plan import MAGIC, Plan

TABLE = pathlib.Path(__file__).parents[2] / "native" / "ops.def"


def test_the_launcher_has_the_same_operations() -> None:
    rows = re.findall(r'^OP\((\d+), (\w+), "(\w*)", (\d)\)', TABLE.read_text(), re.MULTILINE)
    assert {name: (int(code), fields, int(phase)) for code, name, fields, phase in rows} == OPS


def test_records_are_length_delimited_little_endian() -> None:
    plan = Plan()
    plan.add("HOSTNAME", "ab")
    plan.add("RLIMIT", 7, -1, 1024)
    plan.add("END")
    data = plan.encode()
    assert data.startswith(MAGIC)
    hostname = bytes([49, 0, 0, 0]) + (6).to_bytes(4, "little") + (2).to_bytes(4, "little") + b"ab"
    assert data[8:].startswith(hostname)
    rlimit = bytes([20, 0, 0, 0]) + (24).to_bytes(4, "little") + b"".join(n.to_bytes(8, "little", signed=True) for n in (7, -1, 1024))
    assert data[8 + len(hostname) :].startswith(rlimit)
    assert data.endswith(bytes([79, 0, 0, 0, 0, 0, 0, 0]))


def test_text_that_is_not_utf8_travels_unchanged() -> None:
    plan = Plan()
    plan.add("ARGV", ["echo", "\udcff"])
    assert b"\x01\0\0\0\xff" in plan.encode()


def test_a_nul_is_refused_with_the_operation_named() -> None:
    plan = Plan()
    plan.add("ENV", ["A=b\0c"])
    with pytest.raises(InvalidArgument, match="env"):
        plan.encode()


def test_a_plan_that_is_too_large_is_refused() -> None:
    plan = Plan()
    plan.add("ARGV", ["x" * (17 << 20)])
    with pytest.raises(InvalidArgument, match="launch plan"):
        plan.encode()


def test_every_operation_describes_itself_in_a_line() -> None:
    plan = Plan()
    plan.add("MOUNT", "tmpfs", "/run", 6, "mode=755,size=64m", "tmpfs", 2)
    plan.add("SECCOMP", b"\0" * 16, 0)
    assert plan.lines() == ["mount tmpfs /run 6 mode=755,size=64m tmpfs 2", "seccomp <16 bytes> 0"]
