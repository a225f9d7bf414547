"""`import -c`: configs out of instructions, and the catalogue of an archive against Python's own reader."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from support.tars import FOLDER, LINK, SYMLINK, member, stream
from wherry.archive import tarindex
from wherry.engine.changes import changed
from wherry.errors import ArchiveError, InvalidArgument

CASES: list[tuple[list[str], dict[str, Any]]] = [
    (["CMD top -b"], {"Cmd": ["/bin/sh", "-c", "top -b"]}),
    (['cmd ["top", "-b"]'], {"Cmd": ["top", "-b"]}),
    (["CMD []"], {"Cmd": []}),
    (['CMD ["top"'], {"Cmd": ["/bin/sh", "-c", '["top"']}),
    (['ENTRYPOINT ["a"]', "CMD b"], {"Entrypoint": ["a"], "Cmd": ["/bin/sh", "-c", "b"]}),
    (["ENV A=b C='d e' F=g\\ h"], {"Env": ["A=b", "C=d e", "F=g h"]}),
    (["ENV A b  c"], {"Env": ["A=b  c"]}),
    (["ENV A=1", "ENV B=2", "ENV A=3"], {"Env": ["B=2", "A=3"]}),
    (
        ["EXPOSE 80 53/udp", "EXPOSE 8000-8002"],
        {"ExposedPorts": {f"{p}": {} for p in ("80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp")}},
    ),
    (['LABEL a.b="x y" c=d'], {"Labels": {"a.b": "x y", "c": "d"}}),
    (["ONBUILD RUN a", "ONBUILD RUN b"], {"OnBuild": ["RUN a", "RUN b"]}),
    (["STOPSIGNAL SIGINT"], {"StopSignal": "SIGINT"}),
    (["USER www:www"], {"User": "www:www"}),
    (["VOLUME /a /b"], {"Volumes": {"/a": {}, "/b": {}}}),
    (['VOLUME ["/a b"]'], {"Volumes": {"/a b": {}}}),
    (["WORKDIR /a", "WORKDIR b/../c"], {"WorkingDir": "/a/c"}),
    (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
    (
        ["HEALTHCHECK --interval=5s --retries=3 CMD curl x"],
        {"Healthcheck": {"Interval": 5_000_000_000, "Retries": 3, "Test": ["CMD-SHELL", "curl x"]}},
    ),
    (['HEALTHCHECK CMD ["a", "b"]'], {"Healthcheck": {"Test": ["CMD", "a", "b"]}}),
]


@pytest.mark.parametrize(("changes", "wanted"), CASES)
def test_changes(changes: list[str], wanted: dict[str, Any]) -> None:
    assert changed(changes) == wanted


@pytest.mark.parametrize(
    "change",
    [
        "",
        "RUN x",
        "CMD",
        "ENV",
        "ENV A",
        'ENV A="b',
        "ENV A=b C",
        "ENV =b",
        "LABEL x",
        "EXPOSE x",
        "EXPOSE 70000",
        "EXPOSE 5-3",
        "EXPOSE 80/x",
    ]
    + ["STOPSIGNAL nonsense", "VOLUME []x [", "HEALTHCHECK CMD", "HEALTHCHECK x", "HEALTHCHECK --often=1 CMD x"],
)
def test_changes_that_make_no_sense(change: str) -> None:
    if change == "VOLUME []x [":
        assert changed([change]) == {"Volumes": {"[]x": {}, "[": {}}}
        return
    with pytest.raises(InvalidArgument):
        changed([change])


def sample() -> bytes:
    return stream(
        member("./manifest.json", data=b"[]"),
        member("folder/", FOLDER),
        member("long/" * 40 + "name", data=b"x" * 700),
        member("pax", data=b"1", pax={"path": "p" * 300, "mtime": "1.5"}),
        member("hard", LINK, link="pax"),
        member("soft", SYMLINK, link="t" * 200),
        member("after", data=b"y" * 512),
    )


def test_catalogue_is_python_s() -> None:
    data = sample()
    found = tarindex.read(io.BytesIO(data))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        wanted = {
            tarindex.plain_name(m.name): (
                "file" if m.isreg() else "hard" if m.islnk() else "symbolic" if m.issym() else "other",
                m.linkname,
                m.size,
                m.offset_data if m.isreg() else 0,
            )
            for m in archive
        }
    assert {n: (m.kind, m.target, m.size, m.start if m.kind == "file" else 0) for n, m in found.items()} == wanted


def test_catalogue_of_a_damaged_archive_is_an_error_or_shorter() -> None:
    data = sample()
    for at in range(0, len(data), 37):
        for broken in (data[:at], data[:at] + b"\xff" + data[at + 1 :], data[:at] + b"9" + data[at + 1 :]):
            try:
                tarindex.read(io.BytesIO(broken))
            except ArchiveError:
                continue
