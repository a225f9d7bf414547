"""Fixtures of the crash tests: chaos on a store, as root and as an ordinary user."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.chaos import Chaos
from support.engine import Wherry
from support.place import SOAK_TABLE


@pytest.fixture
def chaos(w: Wherry, request: pytest.FixtureRequest) -> Iterator[Chaos]:
    """A store with a bystander container; at the end it is looked over once more."""
    found = Chaos(w)
    failed = request.session.testsfailed
    result = "FAILED"
    try:
        yield found
        result = "ok" if request.session.testsfailed == failed else "FAILED"
        found.settle()
    except AssertionError:
        result += ", something left over"
        raise
    finally:
        if SOAK_TABLE:
            note(request.node.name, found, result)


def note(name: str, chaos: Chaos, result: str) -> None:
    """A line of a soak's table."""
    cells = (name, chaos.round, chaos.struck, f"{time.monotonic() - chaos.start:.0f}", chaos.seed, result)
    with open(SOAK_TABLE, "a") as table:
        table.write(f"| {' | '.join(map(str, cells))} |\n")


@pytest.fixture(scope="session")
def archive(rootfs: Path, reachable: Path) -> Path:
    """A docker-archive of two layers: the small root file system, and 300 files in /made."""
    top = io.BytesIO()
    with tarfile.open(fileobj=top, mode="w") as tar:
        for number in range(300):
            _add(tar, f"made/{number}", str(number).encode())
    layers = [rootfs.read_bytes(), top.getvalue()]
    digests = ["sha256:" + hashlib.sha256(data).hexdigest() for data in layers]
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": digests}}
    manifest = [{"Config": "config.json", "RepoTags": ["made-for-the-crash:1"], "Layers": ["0/layer.tar", "1/layer.tar"]}]
    path = reachable / "archive.tar"
    with tarfile.open(path, "w") as tar:
        for number, data in enumerate(layers):
            _add(tar, f"{number}/layer.tar", data)
        _add(tar, "config.json", json.dumps(config).encode())
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    path.chmod(0o644)
    return path


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
