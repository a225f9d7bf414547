"""Registries that lie, flood, loop and drip: an error in bounded time, nothing in the store, nothing outside touched."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.fake import DOCKER_MANIFEST, OCI_INDEX, FakeRegistry, digest_of, layer
from wherry.engine import Engine
from wherry.engine.transfer_pull import Wishes
from wherry.errors import WherryError


@pytest.fixture(autouse=True)
def nothing_stays(engine: Engine, tmp_path: Path) -> Iterator[None]:
    canary = tmp_path / "canary"
    canary.write_text("alive")
    yield
    assert canary.read_text() == "alive"
    store = Path(engine.store.root)
    assert engine.images.list() == []
    assert os.listdir(store / "layers") == []
    assert os.listdir(store / "partial") in ([], [".lock"])


def refused(engine: Engine, registry: FakeRegistry, wishes: Wishes, match: str, within_s: float = 20.0) -> None:
    began = time.monotonic()
    with pytest.raises(WherryError, match=match):
        engine.images.pull(f"{registry.host}/app:1", wishes=wishes)
    assert time.monotonic() - began < within_s


def changed(registry: FakeRegistry, **changes: Any) -> None:
    """An honest image whose manifest then says something else of its layer."""
    registry.add_image("app", "1", [layer({"a": b"x" * 1000})])
    document = json.loads(registry.manifests["app", "1"][0])
    document["layers"][0].update(changes)
    registry.add_manifest("app", "1", document, DOCKER_MANIFEST)


def test_blob_with_another_digest(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    digest = json.loads(registry.manifests["app", "1"][0])["layers"][0]["digest"]
    good = registry.blobs["app", digest]
    registry.blobs["app", digest] = good[:20] + bytes([good[20] ^ 1]) + good[21:]
    refused(engine, registry, quick, "digest|damaged|unpacking")


def test_tar_with_another_diff_id(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    document = json.loads(registry.manifests["app", "1"][0])
    blob = gzip.compress(layer({"a": b"y"}))
    document["layers"][0].update(digest=registry.add_blob("app", blob), size=len(blob))
    registry.add_manifest("app", "1", document, DOCKER_MANIFEST)
    with pytest.raises(WherryError, match="a layer's diff id is"):
        engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    engine.system.prune() if hasattr(engine.system, "prune") else None


@pytest.mark.parametrize("size", [1, 10, 10**9])
def test_blob_of_another_size(engine: Engine, registry: FakeRegistry, quick: Wishes, size: int) -> None:
    changed(registry, size=size)
    stubborn = quick.replace(access=quick.access.replace(retries=1))
    try:
        refused(engine, registry, stubborn, "size|cut short|damaged|larger")
    finally:
        for name in os.listdir(engine.store.path("partial")):
            os.unlink(engine.store.path("partial", name))


@pytest.mark.parametrize(
    "digest", ["sha256:" + "0" * 63, "md5:" + "0" * 32, "sha256:../../../../etc/passwd", "sha256:" + "A" * 64, "", 7, "sha512:" + "0" * 128]
)
def test_malformed_digests(engine: Engine, registry: FakeRegistry, quick: Wishes, digest: Any) -> None:
    changed(registry, digest=digest)
    refused(engine, registry, quick, "malformed digest or one of an unknown algorithm")


@pytest.mark.parametrize("size", [-1, "7", 1.5, True, None, 1 << 60])
def test_malformed_sizes(engine: Engine, registry: FakeRegistry, quick: Wishes, size: Any) -> None:
    changed(registry, size=size)
    refused(engine, registry, quick, "malformed size")


def test_manifest_that_is_huge(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.add_manifest("app", "1", b"{" + b" " * 50_000_000 + b"}", DOCKER_MANIFEST)
    refused(engine, registry, quick, "larger than")


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b'{"schemaVersion": 3}', b"[" * 100_000, b'{"schemaVersion": 2}'])
def test_manifest_that_is_none(engine: Engine, registry: FakeRegistry, quick: Wishes, text: bytes) -> None:
    registry.add_manifest("app", "1", text, DOCKER_MANIFEST)
    refused(engine, registry, quick, "manifest of")


def test_schema_1(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    registry.add_manifest("app", "1", {"schemaVersion": 1, "fsLayers": []}, kind)
    refused(engine, registry, quick, "manifest of schema 1")


def test_a_thousand_layers(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    document = json.loads(registry.manifests["app", "1"][0])
    document["layers"] *= 1000
    registry.add_manifest("app", "1", document, DOCKER_MANIFEST)
    refused(engine, registry, quick, "1000 entries")


def test_index_in_index_in_index(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    digest = registry.add_image("app", "x", [layer({"a": b"x"})])
    for _ in range(6):
        entry = {"mediaType": OCI_INDEX, "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}}
        digest = registry.add_manifest("app", "1", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}, OCI_INDEX)
    refused(engine, registry, quick, "nested too deeply")


def test_manifest_by_digest_that_is_another(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    wrong = "sha256:" + "1" * 64
    registry.manifests["app", wrong] = registry.manifests["app", "1"]
    with pytest.raises(WherryError, match="has another digest"):
        engine.images.pull(f"{registry.host}/app@{wrong}", wishes=quick)


def test_content_digest_that_lies(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    data, kind = registry.manifests["app", "1"]
    lie = {"Content-Type": kind, "Docker-Content-Digest": "sha256:" + "2" * 64}
    registry.hook = lambda handler: "/manifests/" in handler.path and not handler.answer(200, data, lie)
    refused(engine, registry, quick, "the registry says that")


def test_foreign_urls_are_not_followed(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    other = FakeRegistry()
    registry.add_image("app", "1", [layer({"a": b"x"})])
    document = json.loads(registry.manifests["app", "1"][0])
    digest = document["layers"][0]["digest"]
    document["layers"][0]["urls"] = [f"http://{other.host}/v2/app/blobs/{digest}"]
    other.blobs["app", digest] = registry.blobs.pop(("app", digest))
    registry.add_manifest("app", "1", document, DOCKER_MANIFEST)
    refused(engine, registry, quick, "blob .* not found")
    other.close()
    assert other.requests == []
    for name in os.listdir(engine.store.path("partial")):
        os.unlink(engine.store.path("partial", name))


def test_body_that_never_ends(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    def flood(handler: Any) -> bool:
        if "/manifests/" not in handler.path:
            return False
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while True:
            handler.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n")

    registry.hook = flood
    refused(engine, registry, quick, "larger than")


def test_header_bomb(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    def bomb(handler: Any) -> bool:
        if "/manifests/" not in handler.path:
            return False
        handler.send_response(200)
        for number in range(5000):
            handler.send_header(f"X-{number}", "y" * 1000)
        handler.end_headers()
        return True

    registry.hook = bomb
    refused(engine, registry, quick, "headers|header")


def test_silence(engine: Engine, registry: FakeRegistry, quick: Wishes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wherry.registry.transport.READ_S", 0.3)
    registry.add_image("app", "1", [layer({"a": b"x"})])
    registry.hook = lambda handler: "/manifests/" in handler.path and not time.sleep(1)
    stubborn = quick.replace(access=quick.access.replace(retries=1))
    refused(engine, registry, stubborn, "doesn't answer", within_s=10)


def test_members_that_lead_outside(engine: Engine, registry: FakeRegistry, quick: Wishes, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("escape")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        info = tarfile.TarInfo("../../canary")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"dead"))
    registry.add_image("app", "1", [out.getvalue()])
    refused(engine, registry, quick, "leads out of the archive")
    for name in os.listdir(engine.store.path("partial")):
        os.unlink(engine.store.path("partial", name))


def test_config_of_another_os(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    document = json.loads(registry.manifests["app", "1"][0])
    config = json.dumps({"os": "windows", "architecture": "amd64", "rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}).encode()
    document["config"].update(digest=registry.add_blob("app", config), size=len(config))
    registry.add_manifest("app", "1", document, DOCKER_MANIFEST)
    refused(engine, registry, quick, 'image operating system "windows" cannot be used')
    assert digest_of(config) not in os.listdir(engine.store.path("blobs/sha256"))
