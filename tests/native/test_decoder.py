"""The decoder of plans, built with the address and undefined-behaviour sanitizers, on plans good and broken."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from native.plans import MAGIC, Container, encode, record, u32
from support.place import CHECKOUT, rounds
from support.turns import turn


@pytest.fixture(scope="session")
def check() -> Path:
    with turn("build"):
        done = subprocess.run(["make", "-s", "-C", str(CHECKOUT / "native"), "sanitize"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no sanitizers here: {done.stderr[-300:]}")
    return CHECKOUT / "native/build/plan-check"


def verdict(check: Path, path: Path, data: bytes) -> str:
    """ "" for a plan; else why it is none."""
    path.write_bytes(data)
    done = subprocess.run([str(check), str(path)], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.strip()


def good(tmp_path: Path) -> bytes:
    c = Container(tmp_path, [tmp_path / "a", tmp_path / "b"])
    c.process = [("SECCOMP", bytes(80), 0), ("GROUPS", ["a", "b"]), ("UMASK", 18)]
    return c.plan()


def test_a_plan_is_accepted(check: Path, tmp_path: Path) -> None:
    assert verdict(check, tmp_path / "plan", good(tmp_path)) == ""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"NOTAPLAN" + record("END"), "not a plan"),
        (MAGIC + record("HOSTNAME", "x"), "no END"),
        (encode([]) + record("END"), "follows END"),
        (MAGIC + u32(9999) + u32(0), "unknown operation"),
        (MAGIC + b"\x31\0\1\0" + u32(0) + record("END"), "unknown operation"),
        (MAGIC + record("HOSTNAME", "x") + record("ID", "y") + record("END"), "out of order"),
        (MAGIC + record("HOSTNAME", b"a\0b") + record("END"), "malformed"),
        (MAGIC + b"\x31\0\0\0" + u32(4) + u32(0xFFFFFFFF) + record("END"), "malformed"),
        (MAGIC + b"\x3c\0\0\0" + u32(8) + u32(0x40000000) + u32(0) + record("END"), "malformed"),
        (MAGIC + b"\x29\0\0\0" + u32(4) + u32(0x20000000) + record("END"), "malformed"),
        (MAGIC + b"\x31\0\0\0" + u32(6) + u32(1) + b"xy" + record("END"), "trailing"),
        (MAGIC + b"\x31\0\0\0" + u32(0xFFFFFFF0) + u32(1), "cut short"),
        (encode([("ATTACH", 4, "/x", 0)]), "slot"),
        (encode([("SOURCE", 256, "/x", 0, 0, 0, 0, 0)]), "slot"),
        (encode([("SOURCE", -1, "/x", 0, 0, 0, 0, 0)]), "slot"),
        (encode([("SOURCE", 0, "/x", 0, 0, 0, 0, 0), ("OVERLAY", [0, 1], 0, "", 0)]), "slot"),
        (encode([("SOURCE", 0, "/x", 0, 0, 0, 0, 0), ("OVERLAY", [0, 1 << 40], -1, "", 0)]), "slot"),
    ],
)
def test_what_is_none_is_told_why(check: Path, tmp_path: Path, data: bytes, why: str) -> None:
    assert why in verdict(check, tmp_path / "plan", data)


def test_cut_anywhere_it_is_refused(check: Path, tmp_path: Path) -> None:
    data = good(tmp_path)
    for at in range(0, len(data) - 1, max(1, len(data) // 150)):
        assert verdict(check, tmp_path / "plan", data[:at])


def test_broken_bytes_never_break_the_decoder(check: Path, tmp_path: Path) -> None:
    chance = random.Random(20)
    data = good(tmp_path)
    for _ in range(rounds(150)):
        broken = bytearray(data)
        for _ in range(chance.choice((1, 2, 5, 20))):
            broken[chance.randrange(8, len(broken))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        verdict(check, tmp_path / "plan", bytes(broken))
