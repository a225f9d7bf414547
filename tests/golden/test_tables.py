"""What the listing commands print, byte for byte, over made-up objects: one file a command line in tables/.

`WHERRY_GOLDEN=write pytest tests/golden` writes them anew; look at the difference before you commit it.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from wherry.cli import main, table
from wherry.cli.context import Context
from wherry.engine.images import HistoryEntry, ImageSummary
from wherry.model.container import ContainerSummary

PLACE = Path(__file__).parent / "tables"
NOW = 1_795_523_400_000_000_000
MINUTE = 60 * 10**9


def container(number: int, **changes: Any) -> ContainerSummary:
    fields: dict[str, Any] = {
        "id": f"{number:x}" * 64,
        "names": (f"name{number}",),
        "image": "busybox:latest",
        "image_id": "sha256:" + "ab" * 32,
        "command": "sh -c 'sleep 1000; echo done'",
        "created_ns": NOW - number * 7 * MINUTE,
        "status_text": f"Up {number} minutes",
        "state": "running",
        "ports_text": "",
        "size_rw": 1234 * number,
        "size_rootfs": 2_000_000,
        "labels": {"com.example.role": "web", "b": "<&>"} if number == 1 else {},
        "mounts": ("/a/very/long/source/of/a/mount",),
        "networks": ("none",),
        "local_volumes": 0,
    }
    return ContainerSummary(**fields | changes)


CONTAINERS = [
    container(1),
    container(2, names=("ünïcödé",), status_text="Exited (137) 3 hours ago", state="exited", command="true"),
    container(3, image="ab" * 6, status_text="Created", state="created", mounts=(), command="日本語のとても長い名前のコマンドです、はい"),
]
IMAGES = [
    ImageSummary(
        "sha256:" + "12" * 32, ("alpine:3.10", "registry.example:5000/a/b:v1"), ("alpine@sha256:" + "34" * 32,), NOW - 1560 * MINUTE, 5_577_361, {}, False, 2
    ),
    ImageSummary("sha256:" + "56" * 32, (), (), 0, 123, {}, True, 0),
]  # fmt: skip
HISTORY = [
    HistoryEntry(
        "sha256:" + "12" * 32, NOW - MINUTE, '/bin/sh -c #(nop)  CMD ["/bin/sh"] and a good deal more of it', 0, "buildkit.dockerfile.v0"
    ),
    HistoryEntry("<missing>", NOW - 90 * MINUTE, "/bin/sh -c #(nop) ADD file:abc in /", 5_577_361, ""),
]
DISK = {
    "Images": {"TotalCount": 2, "Active": 1, "SizeBytes": 5_577_484, "ReclaimableBytes": 123, "Items": IMAGES},
    "Containers": {"TotalCount": 3, "Active": 1, "SizeBytes": 7404, "ReclaimableBytes": 6170, "Items": CONTAINERS},
    "LocalVolumes": {"TotalCount": 0, "Active": 0, "SizeBytes": 0, "ReclaimableBytes": 0, "Items": []},
    "BuildCache": {"TotalCount": 0, "Active": 0, "SizeBytes": 0, "ReclaimableBytes": 0},
}


class FakeEngine:
    """Answers as an engine does, out of the objects above."""

    def __init__(self) -> None:
        self.containers = self.images = self.system = self

    def list(self, *, all: bool = False, filters: Any = None, last: int = -1, size: bool = False) -> list[Any]:
        if last == -1 and "reference" not in (filters or {}):
            return CONTAINERS if self.asked.startswith("ps") else IMAGES
        return CONTAINERS[:last] if self.asked.startswith("ps") else IMAGES[:1]

    def history(self, name: str) -> list[HistoryEntry]:
        return HISTORY

    def df(self, verbose: bool) -> dict[str, Any]:
        return DISK

    def inspect(self, name: str, size: bool = False) -> dict[str, Any]:
        return {"Id": name, "Config": {"Cmd": ["a<b", "é"], "Labels": {}, "Env": None}, "State": {"Pid": 1, "Running": True}}

    def inspect_any(self, name: str, type: str, size: bool) -> dict[str, Any]:
        return self.inspect(name)

    def prune(self, *_args: Any, **_options: Any) -> Any:
        ids = [c.id for c in CONTAINERS[1:]]
        gone = [("Untagged", "alpine:3.10"), ("Deleted", "sha256:" + "12" * 32)]
        if self.asked.startswith("container"):
            return ids, 6170
        if self.asked.startswith("image"):
            return gone, 5_577_361
        return {"ContainersDeleted": ids, "VolumesDeleted": [], "ImagesDeleted": gone, "SpaceReclaimed": 5_583_531}

    asked = ""


COMMANDS = r"""
ps
ps -a --no-trunc
ps -s
ps -q
ps -q --no-trunc
ps -n 1
ps -l
ps --format json
ps --format raw
ps -q --format raw
ps --format {{.Names}}:{{.Label "com.example.role"}}
ps --format table {{.ID}}\t{{.Names}}\t{{.State}}\t{{.Mounts}}\t{{.Labels}}
ps --format table {{.CreatedAt}}\t{{.RunningFor}}\t{{.Networks}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.Label "com.example.the-role"}}
images
images --digests
images --no-trunc
images -q
images alpine
images --format json
images --format raw
images --format {{.Repository}}:{{.Tag}}@{{.Digest}}
images --format table {{.ID}}\t{{.CreatedSince}}\t{{.Containers}}\t{{.SharedSize}}
history x
history --no-trunc x
history -H=false x
history -q x
history --format json x
history --format {{.ID}}:{{.Size}} x
system df
system df -v
system df --format {{.Type}}:{{.Reclaimable}}
system df --format json
inspect x
inspect --format json x y
inspect -f {{.Id}} x y
container prune -f
image prune -f
image prune -a -f
system prune -f
""".strip().splitlines()


def output_of(line: str, monkeypatch: pytest.MonkeyPatch) -> str:
    written: list[str] = []
    engine = FakeEngine()
    engine.asked = line
    monkeypatch.setattr(Context, "engine", engine)
    monkeypatch.setattr(Context, "out", lambda _self, text: written.append(text))
    monkeypatch.setattr(time, "time_ns", lambda: NOW)
    head, mark, template = line.partition(" --format ")
    words = head.split()
    if mark and words[0] == "history" or "inspect" in words:
        template, _, rest = template.partition(" x")
        words += ["--format", template, *("x" + rest).split()] if mark else []
    elif mark:
        words += ["--format", template]
    assert main.run(words) == 0, line
    return "".join(written)


def file_of(line: str) -> Path:
    name = re.sub(r"[^a-zA-Z0-9]+", "-", line).strip("-")
    return PLACE / f"{name}.txt"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("line", COMMANDS)
def test_output(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = output_of(line, monkeypatch)
    path = file_of(line)
    if os.environ.get("WHERRY_GOLDEN") == "write":
        path.write_text(f"$ wherry {line}\n{found}")
    assert f"$ wherry {line}\n{found}" == path.read_text()


def test_no_file_is_left_over() -> None:
    assert sorted(p.name for p in PLACE.iterdir()) == sorted(file_of(line).name for line in COMMANDS)


def test_every_listing_is_here() -> None:
    listed = {line.split()[0] for line in COMMANDS} | {" ".join(line.split()[:2]) for line in COMMANDS}
    for path in ("ps", "images", "history", "inspect", "system df"):
        assert path in table.COMMANDS and path in listed
