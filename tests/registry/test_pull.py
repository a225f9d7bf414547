"""Pulling over good lines and bad ones, from honest registries."""

from __future__ import annotations

import json
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from registry.fake import OCI_INDEX, Cutting, FakeRegistry, digest_of, layer
from wherry.engine import Engine
from wherry.engine.transfer_pull import Wishes, pull
from wherry.errors import NotFound, RegistryError, WherryError

NOISE = random.Random(7).randbytes(3_000_000)


def tree(engine: Engine, name: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for number in engine.images.get(name).layers[::-1]:
        root = Path(engine.store.path("layers", str(number)))
        found.update({str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()})
    return found


def test_pull_gives_the_image_its_tag_and_its_digest(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    digest = registry.add_image("lib/app", "1", [layer({"a": b"1"}), layer({"b": b"2"})])
    lines: list[str] = []
    done = engine.images.pull(
        f"{registry.host}/lib/app:1", wishes=quick, progress=lambda n, s, _a, _b: lines.append(f"{n}: {s}" if n else s)
    )
    assert done.digest == digest and done.new
    assert tree(engine, f"{registry.host}/lib/app:1") == {"a": b"1", "b": b"2"}
    assert engine.images.inspect(f"{registry.host}/lib/app:1")["RepoDigests"] == [f"{registry.host}/lib/app@{digest}"]
    assert lines[0] == "1: Pulling from lib/app"
    assert lines[-2:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {registry.host}/lib/app:1"]
    again = engine.images.pull(f"{registry.host}/lib/app:1", wishes=quick)
    assert not again.new and again.id == done.id


def test_second_pull_asks_for_the_manifest_alone(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.add_image("app", "1", [layer({"a": NOISE})])
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    registry.requests.clear()
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    assert [p for p in registry.paths("GET") if "/blobs/" in p] == []


def test_layers_that_are_here_are_not_fetched_again(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    base = layer({"base": NOISE})
    registry.add_image("app", "1", [base])
    registry.add_image("other", "1", [base, layer({"more": b"x"})])
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    registry.blob_bytes = 0
    engine.images.pull(f"{registry.host}/other:1", wishes=quick)
    assert registry.blob_bytes < 5000


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_lines_are_picked_up_where_they_broke(engine: Engine, registry: FakeRegistry, quick: Wishes, ranges: bool) -> None:
    registry.add_image("app", "1", [layer({"a": NOISE})])
    registry.ranges = ranges
    proxy = Cutting(registry.host, 1_200_000 if ranges else 2_000_000, times=1 << 30 if ranges else 1)
    try:
        engine.images.pull(f"{proxy.host}/app:1", wishes=quick)
    finally:
        proxy.close()
    assert tree(engine, f"{proxy.host}/app:1") == {"a": NOISE}
    assert proxy.cuts >= (2 if ranges else 1)
    if ranges:
        starts = [int(h["Range"][6:-1]) for m, p, h in registry.requests if "Range" in h]
        assert starts and all(s > 1_000_000 for s in starts)


def test_pull_that_failed_goes_on_in_a_later_command(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.add_image("app", "1", [layer({"a": NOISE})])
    proxy = Cutting(registry.host, 1_500_000)
    stubborn = quick.replace(access=quick.access.replace(retries=0))
    with pytest.raises(RegistryError):
        engine.images.pull(f"{proxy.host}/app:1", wishes=stubborn)
    proxy.close()
    assert not engine.images.exists(f"{proxy.host}/app:1")
    registry.requests.clear()
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    [start] = [int(h["Range"][6:-1]) for m, p, h in registry.requests if "Range" in h]
    assert start > 1_000_000
    assert os.listdir(engine.store.path("partial")) == [".lock"]


def test_two_pulls_at_once_fetch_each_blob_once(tmp_path: Path, engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.add_image("app", "1", [layer({"a": NOISE}), layer({"b": NOISE[::-1]})])
    engine.images.list()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with Engine(engine.store.root, engine.store.run) as own:
                pull(own.store, f"{registry.host}/app:1", quick)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    gets = [p for p in registry.paths("GET") if "/blobs/" in p]
    layers = {d["digest"] for d in json.loads(registry.manifests["app", "1"][0])["layers"]}
    assert all(sum(digest in p for p in gets) == 1 for digest in layers)
    assert tree(engine, f"{registry.host}/app:1")["a"] == NOISE


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_registry_is_asked_again(engine: Engine, registry: FakeRegistry, quick: Wishes, status: int) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    refused: set[str] = set()

    def busy(handler: Any) -> bool:
        if handler.path in refused or handler.path == "/v2/":
            return False
        refused.add(handler.path)
        handler.fail(status, "TOOMANYREQUESTS", "slow down", {"Retry-After": "0"})
        return True

    registry.hook = busy
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    assert len(refused) == 3


def test_retry_after_is_waited_for_and_an_end_is_found(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.hook = lambda handler: "/manifests/" in handler.path and not handler.fail(429, "TOOMANYREQUESTS", "slow down")
    with pytest.raises(RegistryError, match="toomanyrequests"):
        engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    assert len(registry.paths("GET")) == 1 + 6


def test_platforms_variants_and_attestations(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    entries = []
    for number, (architecture, variant) in enumerate((("amd64", ""), ("arm", "v6"), ("arm", "v7"), ("arm64", "v8"), ("unknown", ""))):
        digest = registry.add_image(
            "app", f"x{number}", [layer({"which": f"{architecture}{variant}".encode()})], architecture=architecture, variant=variant
        )
        entry: dict[str, Any] = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1}
        entry["platform"] = {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}
        if architecture == "unknown":
            entry["platform"] = {"os": "linux", "architecture": "amd64"}
            entry["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
            entries.insert(0, entry)
        else:
            entries.append(entry)
    registry.add_manifest("app", "1", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, OCI_INDEX)
    for wanted, which in (("linux/amd64", b"amd64"), ("linux/arm/v6", b"armv6"), ("linux/arm/v7", b"armv7"), ("linux/arm64", b"arm64v8")):
        done = engine.images.pull(f"{registry.host}/app:1", wishes=quick.replace(platform=wanted))
        assert tree(engine, done.id) == {"which": which}
    with pytest.raises(WherryError, match="no matching manifest for linux/s390x in the manifest list entries"):
        engine.images.pull(f"{registry.host}/app:1", wishes=quick.replace(platform="linux/s390x"))


def test_by_digest(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    digest = registry.add_image("app", "1", [layer({"a": b"x"})])
    done = engine.images.pull(f"{registry.host}/app@{digest}", wishes=quick)
    assert done.name == f"{registry.host}/app@{digest}"
    assert engine.images.inspect(done.id)["RepoTags"] == []


def test_unknown_images(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    with pytest.raises(NotFound, match=f"manifest for {registry.host}/app:9 not found: manifest unknown: manifest unknown"):
        engine.images.pull(f"{registry.host}/app:9", wishes=quick)


def test_all_tags(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    for tag in ("1", "2", "latest"):
        registry.add_image("app", tag, [layer({"a": tag.encode()})])
    assert [p.name.rpartition(":")[2] for p in engine.images.pull_all(f"{registry.host}/app", wishes=quick)] == ["1", "2", "latest"]


def test_mirrors_come_first_and_may_lack_it(
    engine: Engine, registry: FakeRegistry, quick: Wishes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = FakeRegistry()
    config = tmp_path / "own.conf"
    config.write_text(
        f'[[registry]]\nprefix = "reg.example"\nlocation = "{registry.host}/deep"\n[[registry.mirror]]\nlocation = "{mirror.host}/m"\n'
    )
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(config))
    registry.add_image("deep/app", "1", [layer({"a": b"origin"})])
    registry.add_image("deep/app", "2", [layer({"a": b"origin"})])
    mirror.add_image("m/app", "1", [layer({"a": b"mirror"})])
    engine.images.pull("reg.example/app:1", wishes=quick)
    engine.images.pull("reg.example/app:2", wishes=quick)
    mirror.close()
    assert tree(engine, "reg.example/app:1") == {"a": b"mirror"} and tree(engine, "reg.example/app:2") == {"a": b"origin"}


def test_blocked_registries(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: Wishes) -> None:
    config = tmp_path / "own.conf"
    config.write_text('[[registry]]\nprefix = "bad.example/team"\nlocation = "bad.example/team"\nblocked = true\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(config))
    with pytest.raises(RegistryError, match="bad.example/team is blocked"):
        engine.images.pull("bad.example/team/app", wishes=quick)


def test_policies(engine: Engine, registry: FakeRegistry, quick: Wishes, nobodys_settings: Path) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    policy = nobodys_settings / ".config/containers/policy.json"
    policy.parent.mkdir(parents=True)
    for default, error in (("reject", "rejected by policy"), ("signedBy", "demands a signature")):
        policy.write_text(json.dumps({"default": [{"type": default}]}))
        with pytest.raises(WherryError, match=error):
            engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    policy.write_text(
        json.dumps({"default": [{"type": "reject"}], "transports": {"docker": {registry.host: [{"type": "insecureAcceptAnything"}]}}})
    )
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)


def test_rmi_takes_the_blobs_along(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.add_image("app", "1", [layer({"a": NOISE})])
    done = engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    assert len(os.listdir(engine.store.path("blobs/sha256"))) == 3
    engine.images.remove(done.id, force=True)
    assert os.listdir(engine.store.path("blobs/sha256")) == [] and os.listdir(engine.store.path("layers")) == []


def test_ensure_follows_the_policy(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    from wherry.engine.registry import ensure

    name = f"{registry.host}/app:1"
    with pytest.raises(NotFound, match="No such image"):
        ensure(engine, name, "never", wishes=quick)
    registry.add_image("app", "1", [layer({"a": b"1"})])
    first = ensure(engine, name, "missing", wishes=quick)
    registry.add_image("app", "1", [layer({"a": b"2"})])
    assert ensure(engine, name, "missing", wishes=quick) == ensure(engine, name, "never", wishes=quick) == first
    second = ensure(engine, name, "always", wishes=quick)
    assert second != first and digest_of(b"") not in (first, second)
    registry.manifests.clear()
    assert ensure(engine, name, "newer", wishes=quick) == second
    with pytest.raises(NotFound):
        ensure(engine, name, "always", wishes=quick)
