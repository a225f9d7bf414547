"""Pushing: what is sent, what is spared, what the bytes are; saving and loading; manifest lists."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from registry.fake import Cutting, FakeRegistry, digest_of, layer
from registry.test_pull import NOISE, tree
from wherry.engine import Engine, manifest
from wherry.engine.transfer import Access
from wherry.engine.transfer_pull import Wishes
from wherry.engine.transfer_push import PushWishes
from wherry.errors import Conflict, InvalidArgument, NotFound, WherryError

QUICK = Access(retry_delay_s=0.01)


@pytest.fixture
def image(engine: Engine, tmp_path: Path) -> str:
    """An image that came in as a plain tar: its blob was never kept."""
    file = tmp_path / "root.tar"
    file.write_bytes(layer({"a": NOISE, "dir/b": b"hello", "n" * 150: b"long"}))
    return engine.images.import_(str(file), reference="app:1", changes=['CMD ["/x"]'], platform="linux/amd64")


def pushed(engine: Engine, registry: FakeRegistry, name: str = "app:1", source: str = "app:1", **wishes: Any) -> dict[str, Any]:
    engine.images.push(f"{registry.host}/{name}", source=source, wishes=PushWishes(access=QUICK, **wishes))
    repository, _, tag = name.partition(":")
    return dict(json.loads(registry.manifests[repository, tag][0]))


def test_what_was_imported_comes_back_byte_for_byte(
    engine: Engine, registry: FakeRegistry, image: str, quick: Wishes, tmp_path: Path
) -> None:
    document = pushed(engine, registry)
    assert document["config"]["digest"] == image
    [blob] = [registry.blobs["app", d["digest"]] for d in document["layers"]]
    import gzip

    assert gzip.decompress(blob) == (tmp_path / "root.tar").read_bytes()
    engine.images.remove(image, force=True)
    done = engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    assert done.id == image and tree(engine, image)["dir/b"] == b"hello"


def test_second_push_sends_nothing_and_compresses_nothing(engine: Engine, registry: FakeRegistry, image: str) -> None:
    pushed(engine, registry)
    before = {p: os.stat(engine.store.path("blobs/sha256", p)).st_mtime_ns for p in os.listdir(engine.store.path("blobs/sha256"))}
    registry.requests.clear()
    pushed(engine, registry)
    assert registry.paths("POST") == registry.paths("PATCH") == []
    assert before == {p: os.stat(engine.store.path("blobs/sha256", p)).st_mtime_ns for p in before}


def test_what_was_pulled_is_pushed_with_the_same_digest(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    digest = registry.add_image("app", "1", [layer({"a": b"1"}), layer({"b": b"2"})])
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    other = FakeRegistry()
    done = engine.images.push(f"{other.host}/else/app:7", source=f"{registry.host}/app:1", wishes=PushWishes(access=QUICK))
    other.close()
    assert done.digest == digest


def test_layers_are_mounted_from_another_repository(engine: Engine, registry: FakeRegistry, image: str) -> None:
    pushed(engine, registry)
    sent = len(registry.paths("PATCH"))
    pushed(engine, registry, "other/name:2")
    assert any("mount=sha256" in p and "from=app" in p for p in registry.paths("POST"))
    assert len(registry.paths("PATCH")) == sent + 1  # the config alone


def test_an_upload_that_breaks_goes_on_where_it_was(engine: Engine, registry: FakeRegistry, image: str) -> None:
    proxy = Cutting(registry.host, 1_500_000, times=1, upward=True)
    engine.images.push(f"{proxy.host}/app:1", source="app:1", wishes=PushWishes(access=QUICK))
    proxy.close()
    assert proxy.cuts == 1
    patches = [h for m, p, h in registry.requests if m == "PATCH"]
    assert any("Content-Range" in h and int(h["Content-Range"].partition("-")[0]) > 500_000 for h in patches)
    assert all(digest_of(data) == digest for (_name, digest), data in registry.blobs.items())


@pytest.mark.parametrize(("form", "magic"), [("gzip", b"\x1f\x8b"), ("zstd", b"\x28\xb5\x2f\xfd"), ("uncompressed", b"a\0")])
def test_compression_formats(engine: Engine, registry: FakeRegistry, image: str, quick: Wishes, form: str, magic: bytes) -> None:
    document = pushed(engine, registry, compression=form)
    assert registry.blobs["app", document["layers"][0]["digest"]].startswith(magic)
    assert document["layers"][0]["mediaType"].endswith({"gzip": "gzip", "zstd": "+zstd", "uncompressed": "tar"}[form])
    assert ("oci" in document["mediaType"]) == (form == "zstd")
    engine.images.remove(image, force=True)
    assert engine.images.pull(f"{registry.host}/app:1", wishes=quick).id == image


def test_refusals(engine: Engine, registry: FakeRegistry, image: str) -> None:
    with pytest.raises(NotFound, match="An image does not exist locally with the tag: nope"):
        engine.images.push("nope")
    with pytest.raises(NotFound, match="tag does not exist: app:2"):
        engine.images.push("app:2")
    for wishes in ({"compression": "zstd:chunked"}, {"compression": "lzma"}, {"manifest_format": "v1"}):
        with pytest.raises(WherryError):
            pushed(engine, registry, **wishes)
    with pytest.raises(InvalidArgument, match="digest reference"):
        engine.images.push(f"app@{image}")


def test_a_changed_tree_is_noticed(engine: Engine, registry: FakeRegistry, image: str) -> None:
    [number] = engine.images.get("app:1").layers
    Path(engine.store.path("layers", str(number), "dir/b")).write_bytes(b"HELLO")
    with pytest.raises(WherryError, match="has other files than it was made with"):
        pushed(engine, registry)


# -- save --------------------------------------------------------------------------------------------------------------------


def test_archives_are_the_same_bytes_and_both_forms_at_once(engine: Engine, image: str, tmp_path: Path) -> None:
    engine.images.tag("app:1", "reg.example/team/app:x")
    for number in (1, 2):
        engine.images.save(["app:1", "reg.example/team/app:x"], str(tmp_path / f"{number}.tar"))
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with tarfile.open(tmp_path / "1.tar") as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]
    [entry] = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["app:1", "reg.example/team/app:x"]
    index = json.loads(files["index.json"])
    assert {d["annotations"]["io.containerd.image.name"] for d in index["manifests"]} == {
        "docker.io/library/app:1",
        "reg.example/team/app:x",
    }
    for name, data in files.items():
        if name.startswith("blobs/"):
            assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
    assert files["blobs/" + entry["Layers"][0].removeprefix("blobs/")] == (tmp_path / "root.tar").read_bytes()
    assert json.loads(files["repositories"]).keys() == {"app", "reg.example/team/app"}


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_what_is_saved_is_loaded(engine: Engine, image: str, tmp_path: Path, form: str) -> None:
    target = str(tmp_path / "out")
    engine.images.save(["app:1"], target, format=form)
    engine.images.remove("app:1")
    assert engine.images.load(target) == ["Loaded image: app:1"]
    assert engine.images.inspect("app:1")["Id"] == image


def test_save_refuses_and_leaves_nothing(engine: Engine, image: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="No such image: nope"):
        engine.images.save(["app:1", "nope"], str(tmp_path / "x.tar"))
    with pytest.raises(InvalidArgument, match='directory ".*/missing" does not exist'):
        engine.images.save(["app:1"], str(tmp_path / "missing/x.tar"))
    assert sorted(os.listdir(tmp_path)) == ["home", "registries.conf", "root.tar", "run", "store"]


def test_save_by_id_has_no_names(engine: Engine, image: str, tmp_path: Path) -> None:
    engine.images.save([image[7:19]], str(tmp_path / "x.tar"))
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert json.load(io.TextIOWrapper(tar.extractfile("manifest.json")))[0]["RepoTags"] is None  # type: ignore[arg-type]


# -- manifest lists ------------------------------------------------------------------------------------------------------------


def test_a_list_of_images_of_a_registry_and_of_the_store(engine: Engine, registry: FakeRegistry, image: str, quick: Wishes) -> None:
    registry.add_image("arm", "1", [layer({"which": b"arm64"})], architecture="arm64")
    name = f"{registry.host}/multi:1"
    assert manifest.create(engine.store, name, ["app:1", f"{registry.host}/arm:1"], QUICK) == name
    with pytest.raises(Conflict, match="refusing to amend an existing manifest list with no --amend flag"):
        manifest.create(engine.store, name, [], QUICK)
    manifest.annotate(engine.store, name, f"{registry.host}/arm:1", manifest.Annotation(variant="v8", os_features=("x",)))
    digest = manifest.push(engine.store, name, "", QUICK)
    data, media_type = registry.manifests["multi", "1"]
    assert digest_of(data) == digest and media_type == "application/vnd.docker.distribution.manifest.list.v2+json"
    platforms = [d["platform"] for d in json.loads(data)["manifests"]]
    assert platforms == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux", "variant": "v8", "os.features": ["x"]},
    ]
    engine.images.remove(image, force=True)
    assert engine.images.pull(name, wishes=quick).id == image
    arm = engine.images.pull(name, wishes=quick.replace(platform="linux/arm64"))
    assert tree(engine, arm.id) == {"which": b"arm64"}
    manifest.drop(engine.store, name)
    assert not manifest.exists(engine.store, name)
