"""Flags of `build` that shape the image, its outputs and what is shown."""

from __future__ import annotations

import base64
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from support.engine import Wherry

WORK = """
FROM busybox
LABEL kept=1
RUN mkdir /a && echo 1 > /a/1 && echo 2 > /a/2 && rm /bin/vi
RUN rm /a/1 && echo "$X" > /a/3 && rm -r /tmp && mkdir /tmp
COPY file /a/
"""


def context(w: Wherry, dockerfile: str = WORK) -> Path:
    folder = w.folder("flags")
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "file").write_text("copied\n")
    subprocess.run(["chown", "-R", f"{w.user.uid}:{w.user.gid}", str(folder)], check=True)
    return folder


def build(w: Wherry, folder: Path, *words: str) -> str:
    done = w("build", *words, str(folder))
    assert done.returncode == 0, f"{w.label}: {done.stderr}"
    return str(done.stdout).strip()


def inspected(w: Wherry, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(w.ok("image", "inspect", name))[0]
    return found


def shown(w: Wherry, image: str) -> str:
    return w.ok("run", "--rm", "--network", "none", image, "sh", "-c", "ls /a; ls -A /tmp; ls /bin/vi 2>&1 | grep -c such")


def test_new_layers_made_into_one(w: Wherry) -> None:
    folder = context(w)
    build(w, folder, "-t", "plain")
    build(w, folder, "--squash", "-t", "one")
    build(w, folder, "--squash-all", "-t", "all")
    build(w, folder, "--layers=false", "-t", "nolayers")
    counts = [len(inspected(w, name)["RootFS"]["Layers"]) for name in ("busybox", "plain", "one", "nolayers", "all")]
    assert counts == [1, 4, 2, 2, 1]
    assert {shown(w, name) for name in ("plain", "one", "all", "nolayers")} == {"2\n3\nfile\n1"}
    assert len(w.ok("history", "-q", "one").split()) == len(w.ok("history", "-q", "plain").split()) + 1


def test_what_the_command_line_changes_of_the_config(w_user: Wherry) -> None:
    folder = context(w_user, "FROM missing\nRUN test $A = b\nENV C=$A\nLABEL own=1\n")
    base = context(w_user, "FROM busybox\nLABEL kept=1 gone=1\nENV OLD=1\n")
    build(w_user, base, "-t", "labelled")
    words = ["--from", "labelled", "--env", "A=b", "--unsetenv", "OLD", "--unsetlabel", "gone", "--label", "new=1"]
    build(w_user, folder, *words, "-t", "changed")
    config = inspected(w_user, "changed")["Config"]
    assert [e for e in config["Env"] if not e.startswith("PATH")] == ["A=b", "C=b"]
    assert config["Labels"] == {"kept": "1", "own": "1", "new": "1"}
    build(w_user, folder, "--from", "labelled", "--env", "A=b", "--inherit-labels=false", "--omit-history", "-t", "changed")
    assert inspected(w_user, "changed")["Config"]["Labels"] == {"own": "1"}


def test_the_same_image_at_another_time(w: Wherry) -> None:
    folder = context(w, WORK + "WORKDIR /new/folder\nRUN ln -s x /new/link && touch /new\n")
    first = build(w, folder, "-q", "--source-date-epoch", "1700000000")
    second = build(w, folder, "-q", "--no-cache", "--source-date-epoch", "1700000000")
    assert first == second
    assert build(w, folder, "-q", "--no-cache", "--source-date-epoch", "1700000001") != first
    times = w.ok("run", "--rm", "--network", "none", first, "stat", "-c", "%Y", "/a", "/a/3", "/a/file", "/new", "/new/link", "/new/folder")
    assert set(times.split()) == {"1700000000"}


def test_volumes_limits_and_the_key(w_root: Wherry) -> None:
    folder = context(w_root, "FROM busybox\nRUN cat /vol/file > /got; touch /vol/x 2>/dev/null && echo writable > /got; true\n")
    build(w_root, folder, "-v", f"{folder}:/vol:ro", "--memory", "100m", "--resource", "cpu-quota=50000", "-t", "vol")
    assert w_root.ok("run", "--rm", "--network", "none", "vol", "cat", "/got") == "copied"
    other = w_root("build", "-t", "vol", str(folder))
    assert "#4 CACHED" not in other.stderr
    assert w_root.ok("run", "--rm", "--network", "none", "vol", "cat", "/got") == ""


def test_manifests_with_annotations_and_another_compression(w_user: Wherry) -> None:
    folder = context(w_user)
    target = folder / "out.tar"
    build(
        w_user,
        folder,
        "--annotation",
        "a=b",
        "--annotation",
        "index:c=d",
        "-o",
        f"type=oci,dest={target},compression=zstd,force-compression=true",
    )
    with tarfile.open(target) as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        manifest = json.load(tar.extractfile("blobs/" + index["manifests"][0]["digest"].replace(":", "/")))  # type: ignore[arg-type]
    assert manifest["annotations"] == {"a": "b"}
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    build(w_user, folder, "-o", f"type=oci,tar=false,dest={folder}/layout")
    assert (folder / "layout/oci-layout").exists()
    refused = w_user("build", "--format", "docker", "--annotation", "a=b", str(folder))
    assert refused.returncode == 1
    assert "docker's manifests have no annotations" in refused.stderr


def test_results_in_files(w_user: Wherry) -> None:
    folder = context(w_user)
    out = folder / "out"
    out.mkdir()
    (out / "old").write_text("x")
    subprocess.run(["chown", "-R", f"{w_user.user.uid}:{w_user.user.gid}", str(out)], check=True)
    image = build(w_user, folder, "-q", "-t", "files", "--metadata-file", f"{folder}/md", "--iidfile", f"{folder}/id")
    assert (folder / "id").read_text() == image
    metadata = json.loads((folder / "md").read_text())
    assert metadata["containerimage.config.digest"] == image
    assert metadata["containerimage.descriptor"]["platform"]["os"] == "linux"
    assert metadata["image.name"] == "docker.io/library/files:latest"
    build(w_user, folder, "-o", f"type=local,dest={out},mode=delete", "--logfile", f"{folder}/log")
    assert not (out / "old").exists()
    assert (out / "a/file").read_text() == "copied\n"
    assert "#1 [internal] load build definition" in (folder / "log").read_text()


def test_progress_as_json(w_root: Wherry) -> None:
    folder = context(w_root, "FROM busybox\nRUN echo said\n")
    done = w_root("build", "--no-cache", "--progress", "rawjson", str(folder))
    events = [json.loads(line) for line in done.stderr.splitlines()]
    vertexes = [v for e in events for v in e.get("vertexes", ())]
    run = next(v for v in vertexes if v["name"] == "[2/2] RUN echo said")
    logs = [entry for e in events for entry in e.get("logs", ()) if entry["vertex"] == run["digest"]]
    assert base64.b64decode("".join(entry["data"] for entry in logs)) == b"said\n"
    assert any(v.get("completed") and v["name"] == run["name"] for v in vertexes)


def test_a_shell_in_the_root_of_a_failed_step(w: Wherry) -> None:
    folder = context(w, "FROM busybox\nRUN mkdir /here\nWORKDIR /here\nRUN echo kept > left; exit 7\n")
    before = w.ok("images", "-aq")
    done = w("build", "--on-error=shell", str(folder), input="cat left; pwd\n")
    assert done.returncode == 1
    assert done.stdout.split() == ["kept", "/here"]
    assert "exit code: 7" in done.stderr
    assert w.ok("images", "-aq") == before


def test_the_policy_of_pulling(w_user: Wherry) -> None:
    folder = context(w_user, "FROM localhost:1/nothing\n")
    done = w_user("build", "--pull=never", str(folder))
    assert done.returncode == 1
    assert "No such image: localhost:1/nothing:latest" in done.stderr
    assert w_user("build", "--pull=perhaps", str(folder)).returncode == 1
