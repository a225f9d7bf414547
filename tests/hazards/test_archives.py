"""Image archives made to do harm, or made carelessly: each is refused with a reason, no traceback, and nothing of it stays."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from support.engine import Wherry
from support.tars import FILE, SYMLINK, member, of_files, stream

LAYER = of_files(a="1", b="2")
OTHER = of_files(c="3")


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config(**changes: Any) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["x"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(LAYER)]},
        **changes,
    }


def encoded(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def docker_archive(image: Any, manifest: Any = None, layer: bytes = LAYER, tags: tuple[str, ...] = ("hostile:1",)) -> bytes:
    if manifest is None:
        manifest = [{"Config": "config.json", "RepoTags": list(tags), "Layers": ["l/layer.tar"]}]
    return stream(
        member("l/layer.tar", data=layer), member("config.json", data=encoded(image)), member("manifest.json", data=encoded(manifest))
    )


def oci_archive(index: Any, *blobs: bytes) -> bytes:
    return stream(
        member("oci-layout", data=b'{"imageLayoutVersion":"1.0.0"}'),
        member("index.json", data=encoded(index)),
        *(member("blobs/sha256/" + digest(b)[7:], data=b) for b in blobs),
    )


def oci_image(image: Any = None, layer: bytes = LAYER, **manifest: Any) -> bytes:
    config_blob = encoded(config() if image is None else image)
    document = {
        "schemaVersion": 2,
        "config": {"digest": digest(config_blob), "size": len(config_blob)},
        "layers": [{"digest": digest(layer), "size": len(layer), "mediaType": "application/vnd.oci.image.layer.v1.tar"}],
        **manifest,
    }
    blob = encoded(document)
    return oci_archive({"manifests": [{"digest": digest(blob), "size": len(blob)}]}, blob, config_blob, layer)


def nested_indexes() -> bytes:
    """An index in an index in an index …"""
    blobs = [encoded({"manifests": []})]
    for _ in range(20):
        blobs.append(encoded({"manifests": [{"digest": digest(blobs[-1])}]}))
    return oci_archive({"manifests": [{"digest": digest(blobs[-1])}]}, *blobs)


BAD_CONFIGS: dict[str, Any] = {
    "no JSON": b"{",
    "no object": [1],
    "deep": b"[" * 100_000,
    "half a character": b'{"architecture":"amd64","os":"linux","config":{"Env":["A=\\ud800"]},"rootfs":{"diff_ids":["%s"]}}'
    % digest(LAYER).encode(),
    "rootfs a list": config(rootfs=[1]),
    "diff ids a number": config(rootfs={"diff_ids": 5}),
    "diff id empty": config(rootfs={"diff_ids": [""]}),
    "diff id a path": config(rootfs={"diff_ids": ["sha256:../../../x"]}),
    "diff id of another": config(rootfs={"diff_ids": [digest(OTHER)]}),
    "too many layers": config(rootfs={"diff_ids": [digest(LAYER)] * 2}),
    "created a number": config(created=5),
    "created nonsense": config(created="yesterday"),
    "architecture a number": config(architecture=5),
    "Env a string": config(config={"Env": "A=b"}),
    "Env of numbers": config(config={"Env": [1]}),
    "Cmd a string": config(config={"Cmd": "sh"}),
    "Entrypoint an object": config(config={"Entrypoint": {}}),
    "Labels a list": config(config={"Labels": ["a"]}),
    "Labels of numbers": config(config={"Labels": {"a": 1}}),
    "User a number": config(config={"User": 0}),
    "WorkingDir a list": config(config={"WorkingDir": []}),
    "Volumes a list": config(config={"Volumes": ["/a"]}),
    "Healthcheck a string": config(config={"Healthcheck": "x"}),
    "history of numbers": config(history=[5]),
    "history an object": config(history={"a": 1}),
}
ONE = {"Config": "config.json", "Layers": ["l/layer.tar"]}
BAD_MANIFESTS: dict[str, Any] = {
    "a number": 5,
    "an object": {},
    "of numbers": [5],
    "config a number": [{**ONE, "Config": 5}],
    "config outside": [{**ONE, "Config": "../../etc/passwd"}],
    "config absolute": [{**ONE, "Config": "/etc/passwd"}],
    "config missing": [{"Layers": []}],
    "layers a number": [{**ONE, "Layers": 5}],
    "layer absolute": [{**ONE, "Layers": ["/etc/passwd"]}],
    "tags of numbers": [{**ONE, "RepoTags": [5]}],
    "tag of capitals": [{**ONE, "RepoTags": ["UPPER:1"]}],
    "large": b"[" + b" " * (5 << 20) + b"]",
}
BAD_INDEXES: dict[str, Any] = {
    "a number": 5,
    "manifests a number": {"manifests": 5},
    "manifests of numbers": {"manifests": [5]},
    "no manifests": {"manifests": []},
    "digest a path": {"manifests": [{"digest": "sha256:../../etc/passwd"}]},
    "digest a number": {"manifests": [{"digest": 5}]},
    "platform a list": {"manifests": [{"digest": digest(b""), "platform": [1]}]},
    "of another platform": {"manifests": [{"digest": digest(b""), "platform": {"os": "plan9", "architecture": "mips"}}]},
    "of a blob that is missing": {"manifests": [{"digest": digest(b"missing")}]},
}


def hostile_archives() -> dict[str, bytes]:
    found = {f"config {name}": docker_archive(value) for name, value in BAD_CONFIGS.items()}
    found |= {f"manifest {name}": docker_archive(config(), value) for name, value in BAD_MANIFESTS.items()}
    found |= {f"index {name}": oci_archive(value) for name, value in BAD_INDEXES.items()}
    good = docker_archive(config())
    found |= {
        "indexes in indexes": nested_indexes(),
        "oci layers a number": oci_image(layers=5),
        "oci config a list": oci_image(config=[1]),
        "oci layer of another digest": oci_archive({"manifests": [{"digest": digest(b"{}")}]}, b'{"config":{},"layers":[]}').replace(
            digest(b'{"config":{},"layers":[]}')[7:].encode(), digest(b"{}")[7:].encode()
        ),
        "layer climbs": docker_archive(config(rootfs={"diff_ids": [digest(stream(member("../x")))]}), layer=stream(member("../x"))),
        "layer no tar": docker_archive(config(rootfs={"diff_ids": [digest(b"x" * 2000)]}), layer=b"x" * 2000),
        "layer link outside": stream(
            member("l/layer.tar", SYMLINK, link="../../../etc/passwd"),
            member("config.json", data=encoded(config(rootfs={"diff_ids": [digest(OTHER)]}))),
            member("manifest.json", data=encoded([ONE])),
        ),
        "links in a ring": stream(member("manifest.json", SYMLINK, link="x"), member("x", SYMLINK, link="manifest.json")),
        "neither form": of_files(readme="hello"),
        "cut short": good[:1500],
        "no archive": b"hello, world" * 100,
        "gzip of nothing": b"\x1f\x8b\x08\0" + b"x" * 600,
        "gzip cut short": gzip.compress(good, mtime=0)[:-60],
        "zstd damaged": b"\x28\xb5\x2f\xfd" + b"x" * 600,
        "xz damaged": b"\xfd7zXZ\0" + b"x" * 600,
        "bzip2 damaged": b"BZh9" + b"x" * 600,
        "header of a terabyte": member("x", b"x", size=1 << 40) + good,
        "empty": b"",
    }
    return found


def test_hostile_archives_are_refused_and_leave_nothing(w: Wherry) -> None:
    before = sorted(w.ok("images", "-aq", "--no-trunc").split())
    trees = sorted(os.listdir(w.root / "layers"))
    for name, data in hostile_archives().items():
        path = w.file("archive", data)
        done = w("load", "-i", path)
        assert done.returncode == 1, f"{name}: {done.stdout}"
        assert "Traceback" not in done.stderr and "internal" not in done.stderr, f"{name}: {done.stderr}"
        assert done.stderr.strip(), name
    assert sorted(w.ok("images", "-aq", "--no-trunc").split()) == before
    assert sorted(os.listdir(w.root / "layers")) == trees
    assert not w.check()
    assert not [entry for entry in os.listdir(w.root / "staging") if not entry.startswith(("create-", "rm-"))]


def test_careless_archives_are_taken(w: Wherry) -> None:
    """What tools in use write: no time, the year 1 or 9999, nulls for nothing, bytes that are no UTF-8 in a label's neighbour."""
    cases = {
        "year 1": config(created="0001-01-01T00:00:00Z"),
        "year 9999": config(created="9999-12-31T23:59:59Z"),
        "no time": config(),
        "nulls": config(config={"Env": None, "Cmd": None, "Labels": None, "Volumes": None, "User": None}, history=None, created=None),
        "no config": config(config=None),
        "unknown parts": config(config={"Cmd": ["x"], "NewInDocker99": [1]}, moby={"buildkit": 1}),
        "large": config(config={"Env": [f"V{i}=" + "x" * 100 for i in range(10_000)]}),
    }
    for name, document in cases.items():
        out = w.ok("load", "-i", w.file("archive", docker_archive(document)))
        assert out.endswith("Loaded image: hostile:1"), name
        shown = json.loads(w.ok("image", "inspect", "hostile:1"))[0]
        assert shown["Id"] == digest(encoded(document)), name
        assert w.ok("images", "-q", "hostile:1") and w.ok("history", "-q", "hostile:1") is not None
        w.ok("rmi", "hostile:1")


def test_layer_that_two_images_share_as_a_link(w: Wherry) -> None:
    """Docker before 25 wrote it once; the second image has a link to it."""
    second = config(config={"Cmd": ["other"]})
    data = stream(
        member("one/layer.tar", data=LAYER),
        member("two/layer.tar", SYMLINK, link="../one/layer.tar"),
        member("one.json", data=encoded(config())),
        member("two.json", data=encoded(second)),
        member(
            "manifest.json",
            data=encoded(
                [
                    {"Config": "one.json", "RepoTags": ["shared:1"], "Layers": ["one/layer.tar"]},
                    {"Config": "two.json", "RepoTags": ["shared:2"], "Layers": ["two/layer.tar"]},
                ]
            ),
        ),
    )
    assert w.ok("load", input=data.decode("latin-1"), encoding="latin-1").splitlines()[-2:] == [
        "Loaded image: shared:1",
        "Loaded image: shared:2",
    ]
    w.ok("rmi", "shared:1", "shared:2")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archive_in_every_form_of_tar(w: Wherry, form: int) -> None:
    out = io.BytesIO()
    layer_name = "n" * 90 + "/" + "m" * 60 + "/layer.tar"
    manifest = [{"Config": "config.json", "RepoTags": ["form:1"], "Layers": [layer_name]}]
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in ((layer_name, LAYER), ("config.json", encoded(config())), ("./manifest.json", encoded(manifest))):
            info = tarfile.TarInfo(name)
            info.size, info.type, info.mtime = len(data), FILE, 1.5 if form == tarfile.PAX_FORMAT else 1
            archive.addfile(info, io.BytesIO(data))
    assert w.ok("load", "-i", w.file("archive", out.getvalue())).endswith("Loaded image: form:1")
    w.ok("rmi", "form:1")


def test_root_of_a_layer_takes_nothing_from_its_surroundings(w: Wherry, rootfs: Path) -> None:
    """A file mode creation mask, a folder that gives its group away: nothing of them shows in a container."""
    members = [member("only", data=b"1")]
    with tarfile.open(rootfs) as source:
        for entry in source:
            if entry.isreg() and entry.name.endswith("busybox"):
                file = source.extractfile(entry)
                assert file is not None
                members += [member("bin/busybox", data=file.read(), mode=0o755)]
    path = w.file("bare.tar", stream(*members))
    staging = w.root / "staging"
    staging.chmod(0o2700)
    done = w.host("sh", "-c", f"umask 077; exec {' '.join(w.words('import', path, 'bare'))}")
    staging.chmod(0o700)
    assert done.returncode == 0, done.stderr
    name = "busybox"
    shown = w.ok("run", "--rm", "bare", f"/bin/{name}", "stat", "-c", "%a %u %g", "/", "/bin", "/only")
    assert shown.splitlines() == ["755 0 0", "755 0 0", "644 0 0"]
    w.ok("rmi", "bare")


def test_removal_by_docker_s_rules(w: Wherry) -> None:
    two = config(config={"Cmd": ["two"]}, rootfs={"diff_ids": [digest(LAYER), digest(OTHER)]})
    manifest = [{"Config": "c.json", "RepoTags": ["own:a"], "Layers": ["1.tar", "2.tar"]}]
    data = stream(
        member("1.tar", data=LAYER),
        member("2.tar", data=OTHER),
        member("c.json", data=encoded(two)),
        member("manifest.json", data=encoded(manifest)),
    )
    w.ok("load", "-i", w.file("archive", data))
    w.ok("tag", "own:a", "own:b")
    short = digest(encoded(two))[7:19]
    done = w("rmi", short)
    assert done.returncode == 1
    assert f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories" in done.stderr
    assert w.ok("rmi", "own:a") == "Untagged: own:a"
    chain = digest(f"{digest(LAYER)} {digest(OTHER)}".encode())
    assert w.ok("rmi", short).splitlines() == [
        "Untagged: own:b",
        f"Deleted: {digest(encoded(two))}",
        f"Deleted: {chain}",
        f"Deleted: {digest(LAYER)}",
    ]
