"""import, load, images, tag, untag, rmi, history, inspect, prune."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

from support import place
from support.engine import Wherry


@pytest.fixture(autouse=True)
def restored(w: Wherry, rootfs: Path):  # type: ignore[no-untyped-def]
    """Tests here take images away: afterwards there is `busybox` and nothing else."""
    yield
    keep = w.ok("images", "-q", "busybox")
    for image in set(w.ok("images", "-aq", "--no-trunc").split()):
        if not keep or not image.removeprefix("sha256:").startswith(keep):
            w("rmi", "-f", image)
    if not keep:
        w.ok("import", "-c", 'CMD ["sh"]', "-m", "for the tests", rootfs, "busybox")


def archive(name: str) -> Path:
    path = place.ALPINE / name
    if not path.exists():
        pytest.skip(f"no {path} (WHERRY_SHARED names the folder of reference data)")
    return path


def test_import_prints_the_id(w: Wherry, rootfs: Path) -> None:
    ident = w.ok("import", "-m", "a message", "-c", "ENV A=1", "-c", 'CMD ["echo", "x y"]', "-c", "WORKDIR /tmp", rootfs, "imported:v1")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", ident)
    assert w.ok("run", "--rm", "imported:v1") == "x y"
    assert w.ok("run", "--rm", "imported:v1", "sh", "-c", "echo $A $PWD") == "1 /tmp"
    (found,) = json.loads(w.ok("image", "inspect", "imported:v1"))
    assert found["Id"] == ident and found["RepoTags"] == ["imported:v1"]
    assert found["Config"]["Cmd"] == ["echo", "x y"] and found["Config"]["Env"] == ["A=1"]
    assert "a message" in w.ok("history", "imported:v1")


def test_import_from_standard_input_and_compressed(w: Wherry, rootfs: Path) -> None:
    packed = gzip.compress(rootfs.read_bytes(), 1)
    done = w("import", "-", "packed", input=packed, text=False)
    assert done.returncode == 0, done.stderr
    assert w.ok("run", "--rm", "packed", "echo", "fine") == "fine"


@pytest.mark.parametrize("change", ["FROM x", "RUN true", "NOSUCH x", "LABEL a=b c", "ENV"])
def test_bad_changes_are_refused(w: Wherry, rootfs: Path, change: str) -> None:
    done = w("import", "-c", change, rootfs, "bad")
    assert done.returncode == 1 and "Traceback" not in done.stderr and done.stderr
    assert w("image", "exists", "bad").returncode == 1


def test_import_of_rubbish(w: Wherry) -> None:
    done = w("import", w.file("rubbish", b"\x01\x02\x03" * 5000), "bad")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert w("image", "exists", "bad").returncode == 1
    assert w("import", "/no/such/file", "bad").returncode == 1


@pytest.mark.parametrize("version", ["3.10", "3.11"])
def test_load_a_real_docker_archive(w: Wherry, version: str) -> None:
    path = archive(f"alpine-{version}.docker-archive.tar.gz")
    assert re.search(rf"Loaded image: .*alpine:{re.escape(version)}", w.ok("load", "-i", path))
    assert w.ok("run", "--rm", f"alpine:{version}", "cat", "/etc/alpine-release").startswith(version)
    w.ok("run", "--rm", f"alpine:{version}", "apk", "--version")


def test_load_from_standard_input(w: Wherry) -> None:
    path = archive("alpine-3.10.docker-archive.tar.gz")
    with open(path, "rb") as f:
        done = w("load", stdin=f)
    assert done.returncode == 0 and "Loaded image" in done.stdout
    with open(path, "rb") as f:
        plain = gzip.decompress(f.read())
    done = w("load", "-q", input=plain, text=False)
    assert done.returncode == 0, done.stderr


def test_load_what_is_there_already_changes_nothing(w: Wherry) -> None:
    path = archive("alpine-3.10.docker-archive.tar.gz")
    first = w.ok("load", "-i", path)
    before = w.ok("images", "--no-trunc")
    assert w.ok("load", "-i", path) == first
    strip = re.compile(r"(About |Less than )?\S+ \S+ ago")
    assert strip.sub("", w.ok("images", "--no-trunc")) == strip.sub("", before)


def test_truncated_archive_leaves_nothing(w: Wherry) -> None:
    data = archive("alpine-3.10.docker-archive.tar.gz").read_bytes()
    for size in (100, 4096, len(data) // 2, len(data) - 20000):
        done = w("load", input=data[:size], text=False)
        assert done.returncode == 1 and b"Traceback" not in done.stderr, size
    assert "alpine" not in w.ok("images")
    assert w.check() == ""


def test_table(w: Wherry) -> None:
    lines = w.ok("images").splitlines()
    assert re.fullmatch(r"REPOSITORY +TAG +IMAGE ID +CREATED +SIZE", lines[0])
    assert re.fullmatch(r"busybox +latest +[0-9a-f]{12} +.* ago +[\d.]+MB", lines[1])
    assert w.ok("image", "ls", "-q") == w.ok("images", "-q")
    row = json.loads(w.ok("images", "--format", "json"))
    assert (row["Repository"], row["Tag"]) == ("busybox", "latest")
    assert w.ok("images", "--format", "{{.Repository}}:{{.Tag}}", "busybox") == "busybox:latest"
    assert w.ok("images", "-q", "--no-trunc").startswith("sha256:")


def test_tag_and_untag(w: Wherry) -> None:
    w.ok("tag", "busybox", "other/name:v2")
    assert sorted(w.ok("images", "--format", "{{.Repository}}:{{.Tag}}").split()) == ["busybox:latest", "other/name:v2"]
    assert w.ok("rmi", "other/name:v2") == "Untagged: other/name:v2"
    w.ok("tag", "busybox", "again")
    w.ok("untag", "busybox", "again")
    assert w("image", "exists", "again").returncode == 1
    assert w("image", "exists", "busybox").returncode == 0
    done = w("tag", "busybox", "Upper/Case")
    assert done.returncode == 1 and "lowercase" in done.stderr
    assert w("tag", "nosuch", "x").returncode == 1


def test_remove(w: Wherry, rootfs: Path) -> None:
    ident = w.ok("import", "-c", "LABEL only=this", rootfs, "gone")
    out = w.ok("rmi", "gone").splitlines()
    assert out[0] == "Untagged: gone:latest" and f"Deleted: {ident}" in out
    done = w("rmi", "gone")
    assert done.returncode == 1 and "No such image: gone:latest" in done.stderr


def test_remove_of_a_used_one(w: Wherry, rootfs: Path) -> None:
    w.ok("import", "-c", "LABEL only=this", rootfs, "used")
    cid = w.ok("create", "used", "true")
    done = w("rmi", "used")
    assert done.returncode == 1
    assert (
        f'conflict: unable to remove repository reference "used" (must force) - container {cid[:12]} is using its referenced image'
        in done.stderr
    )
    w.ok("rmi", "-f", "used")
    assert w("start", "-a", cid).returncode == 0
    w.ok("rm", cid)


def test_remove_by_id_with_several_names(w: Wherry, rootfs: Path) -> None:
    ident = w.ok("import", "-c", "LABEL only=this", rootfs, "first")
    w.ok("tag", "first", "second")
    done = w("rmi", ident)
    assert done.returncode == 1 and "image is referenced in multiple repositories" in done.stderr
    w.ok("rmi", "-f", ident)
    assert w("image", "exists", ident).returncode == 1


def test_dangling_ones_are_pruned(w: Wherry, rootfs: Path) -> None:
    w.ok("import", "-c", "LABEL n=1", rootfs, "name")
    w.ok("import", "-c", "LABEL n=2", rootfs, "name")
    assert "<none>" in w.ok("images")
    assert len(w.ok("images", "-q", "-f", "dangling=true").split()) == 1
    assert "Total reclaimed space" in w.ok("image", "prune", "-f")
    assert "<none>" not in w.ok("images")
    out = w.ok("image", "prune", "-a", "-f")
    assert "name:latest" in out


def test_history(w: Wherry) -> None:
    lines = w.ok("history", "busybox").splitlines()
    assert re.fullmatch(r"IMAGE +CREATED +CREATED BY +SIZE +COMMENT", lines[0])
    assert "for the tests" in lines[1]
    assert w.ok("history", "-q", "--no-trunc", "busybox").startswith("sha256:")


def test_layers_are_shared(w: Wherry, rootfs: Path) -> None:
    before = disk(w)
    w.ok("import", "-c", "LABEL n=1", rootfs, "same")
    assert disk(w) - before < 500_000


def disk(w: Wherry) -> int:
    return int(subprocess.run(["du", "-sb", str(w.root)], capture_output=True, text=True).stdout.split()[0])


def test_space_is_given_back(w: Wherry) -> None:
    path = archive("alpine-3.11.docker-archive.tar.gz")
    w.ok("load", "-i", path)
    w.ok("rmi", "alpine:3.11")
    before = disk(w)
    w.ok("load", "-i", path)
    assert disk(w) - before > 4_000_000
    w.ok("rmi", "alpine:3.11")
    assert disk(w) - before < 200_000


def test_archives_of_others(w: Wherry, tmp_path: Path) -> None:
    """What podman's skopeo writes: an OCI archive, an OCI folder, and zstd layers."""
    import shutil

    skopeo = shutil.which("skopeo")
    if not skopeo:
        pytest.skip("no skopeo here to write other forms of archives")
    source = archive("alpine-3.10.docker-archive.tar.gz")
    plain = tmp_path / "a.tar"
    plain.write_bytes(gzip.decompress(source.read_bytes()))
    folder = w.folder("oci")
    copy = [skopeo, "--insecure-policy", "copy", "-q", f"docker-archive:{plain}"]
    subprocess.run([*copy, f"oci-archive:{folder}/o.tar:alpine:oci"], check=True, capture_output=True)
    subprocess.run([*copy, "--dest-compress-format", "zstd", f"oci:{folder}/dir:alpine:folder"], check=True, capture_output=True)
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    for what in ("o.tar", "dir"):
        assert "Loaded image" in w.ok("load", "-i", folder / what)
    assert w.ok("run", "--rm", "alpine:oci", "cat", "/etc/alpine-release").startswith("3.10")


def test_a_layer_that_a_killed_removal_left_is_gone_after_a_check(w: Wherry) -> None:
    """What may be a config on the way to its row gets an hour."""
    folder = w.root / "blobs/sha256"
    before = {p.name for p in folder.iterdir()}
    (folder / ("a" * 64)).write_bytes(b"\x1f\x8blayer")
    (folder / ("c" * 64)).write_bytes(b"{}")
    assert w.check() == ""
    assert {p.name for p in folder.iterdir()} == before | {"c" * 64}
    (folder / ("c" * 64)).unlink()
