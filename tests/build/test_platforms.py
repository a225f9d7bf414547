"""Several platforms in one build: an index here, in an archive, in folders, at a registry."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from registry.fake import FakeRegistry
from support.engine import Wherry

CROSS = """
FROM --platform=$BUILDPLATFORM busybox AS build
ARG TARGETPLATFORM TARGETARCH
RUN echo "$TARGETPLATFORM" > /out
FROM scratch
COPY --from=build /out /out
"""


def context(w: Wherry, dockerfile: str) -> Path:
    folder = w.folder("platforms")
    (folder / "Dockerfile").write_text(dockerfile)
    subprocess.run(["chown", "-R", f"{w.user.uid}:{w.user.gid}", str(folder)], check=True)
    return folder


def platforms_of(index: dict[str, Any]) -> list[str]:
    return [
        "/".join(entry["platform"][k] for k in ("os", "architecture", "variant") if k in entry["platform"]) for entry in index["manifests"]
    ]


def test_an_index_of_what_was_built(w: Wherry) -> None:
    folder = context(w, CROSS)
    wanted = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
    done = w(
        "build",
        "--platform",
        ",".join(wanted),
        "-t",
        "cross",
        "-o",
        f"type=oci,dest={folder}/cross.tar",
        "-o",
        f"{folder}/out",
        str(folder),
    )
    assert done.returncode == 0, done.stderr
    assert "[linux/arm64 build 2/2] RUN" in done.stderr
    assert platforms_of(json.loads(w.ok("manifest", "inspect", "cross"))) == wanted
    with tarfile.open(folder / "cross.tar") as tar:
        assert platforms_of(json.load(tar.extractfile("index.json"))) == wanted  # type: ignore[arg-type]
    assert (folder / "out/linux_arm_v7/out").read_text() == "linux/arm/v7\n"
    assert json.loads(w.ok("image", "inspect", "cross"))[0]["Architecture"] == "amd64"
    # What a list needs is not swept away with the images that have no name.
    w.ok("image", "prune", "-f")
    registry = FakeRegistry()
    try:
        name = f"{registry.host}/app/cross:1"
        done = w("build", "--platform", ",".join(wanted), "-t", name, str(folder))
        assert done.returncode == 0, done.stderr
        w.ok("push", "-q", name)
        index = json.loads(registry.manifests["app/cross", "1"][0])
        assert platforms_of(index) == wanted
        for entry in index["manifests"]:
            manifest = json.loads(registry.manifests["app/cross", entry["digest"]][0])
            assert all(("app/cross", layer["digest"]) in registry.blobs for layer in manifest["layers"])
    finally:
        registry.close()


def test_a_list_grows_build_by_build(w_user: Wherry) -> None:
    folder = context(w_user, CROSS)
    for architecture in ("amd64", "arm64"):
        w_user.ok("build", "-q", "--arch", architecture, "--manifest", "grown", str(folder))
    assert platforms_of(json.loads(w_user.ok("manifest", "inspect", "grown"))) == ["linux/amd64", "linux/arm64"]


def test_a_foreign_program_that_nothing_runs(w_user: Wherry) -> None:
    folder = context(w_user, 'FROM busybox\nCOPY foreign /foreign\nRUN ["/foreign"]\n')
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + (243).to_bytes(2, "little") + bytes(400)
    (folder / "foreign").write_bytes(header)
    (folder / "foreign").chmod(0o755)
    done = w_user("build", str(folder))
    assert done.returncode == 1
    assert "exec format error" in done.stderr
    assert "binfmt_misc" in done.stderr
