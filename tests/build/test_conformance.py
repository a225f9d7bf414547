"""The fixtures of Buildah and kaniko, built here and by docker's builder: trees and configs must be the same.

A sample in CI, all of them in a soak. What differs stands in KNOWN with its reason.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import place
from support.engine import Wherry

BUILDAH = place.SHARED / "data/buildah-conformance/testdata"
KANIKO = place.SHARED / "data/kaniko"
# Images that fixtures begin with; all are the small root file system of the tests, or the Debian one that WHERRY_DEBIAN names.
SMALL = (
    "busybox", "busybox:1.31", "alpine", "alpine:3.8", "alpine:3.11", "mirror.gcr.io/busybox", "mirror.gcr.io/alpine", "busybox:musl",
)  # fmt: skip
LARGE = (
    "debian:10.13",
    "debian:10.2",
    "debian:12",
    "debian",
    "ubuntu",
    "quay.io/libpod/centos:7",
    "debian:bullseye-20220328",
    "phusion/baseimage:0.11",
)
SAMPLE = 9
KNOWN = {
    "kaniko/dockerfiles/Dockerfile_test_multistage_args_issue_1911": "history: BuildKit says the value of an ARG since 1.12, Debian's does not",
    "buildah/testdata/Dockerfile.margs": "history: BuildKit says the value of an ARG since 1.12, Debian's does not",
    "buildah/dir-not-dir/Dockerfile": "only: a file of an archive that ADD unpacks does not take the place of a folder here",
    "buildah/subdir-nofile/Dockerfile": "only: Debian's BuildKit keeps folders of which .dockerignore leaves nothing",
    "buildah/subsubdir-nofile/Dockerfile": "folder: Debian's BuildKit keeps folders of which .dockerignore leaves nothing",
    "buildah/subsubdir-nosubdir/Dockerfile": "folder: Debian's BuildKit keeps folders of which .dockerignore leaves nothing",
    "buildah/exceptions-skip/Dockerfile": "volume: Debian's BuildKit misses exceptions below folders that are left out",
    "buildah/exceptions-weirdness-1/Dockerfile": "newdir: Debian's BuildKit misses exceptions below folders that are left out",
    "buildah/integration1/Dockerfile": "only: Debian's BuildKit misses exceptions below folders that are left out",
    "kaniko/dockerfiles/Dockerfile_test_workdir": "history: BuildKit cleans WORKDIR's path since 1.9, Debian's does not",
}
_UNTOLD = ("Hostname", "Image", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce")


def fixtures() -> list[tuple[str, Path, Path]]:
    """(name, context, Dockerfile)"""
    found: list[tuple[str, Path, Path]] = []
    for top in (BUILDAH, KANIKO / "dockerfiles", KANIKO / "dockerfiles-with-context"):
        for path in sorted(top.rglob("Dockerfile*")):
            if path.is_file() and not path.name.endswith("ignore"):
                own = path.parent if path.parent != KANIKO / "dockerfiles" else KANIKO
                found.append((f"{'kaniko' if KANIKO in path.parents else 'buildah'}/{path.relative_to(path.parents[1])}", own, path))
    return found


class Docker:
    """docker's daemon with a store of its own, without a network."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.env = {**os.environ, "DOCKER_HOST": f"unix://{folder}/docker.sock", "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
        self.env["HOME"] = str(folder)
        words = [f"--{k}={v}" for k, v in (("data-root", f"{folder}/data"), ("exec-root", f"{folder}/exec"), ("pidfile", f"{folder}/pid"))]
        words += ["--iptables=false", "--ip6tables=false", "--bridge=none", "-H", self.env["DOCKER_HOST"]]
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen(["dockerd", *words], stdout=log, stderr=log)
        for _ in range(150):
            if self._process.poll() is not None or self("version").returncode == 0:
                break
            time.sleep(0.1)

    @property
    def works(self) -> bool:
        return self._process.poll() is None and self("version").returncode == 0

    def __call__(self, *words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        program = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        return subprocess.run([program, *words], env=self.env, input=data, capture_output=True, timeout=120)

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for path in sorted((m for m in mounts if m.startswith(str(self._folder))), reverse=True):
            subprocess.run(["umount", "-l", path], check=False)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    if not BUILDAH.is_dir() or not KANIKO.is_dir():
        pytest.skip(f"no fixtures at {place.SHARED}")
    if os.geteuid() or shutil.which("dockerd") is None:
        pytest.skip("docker's daemon, started by root, is what is compared with")
    found = Docker(tmp_path_factory.mktemp("docker"))
    try:
        if not found.works:
            pytest.skip("docker's daemon doesn't start here")
        yield found
    finally:
        found.close()


def flat(archive: bytes) -> tuple[dict[str, tuple[Any, ...]], dict[str, Any], int]:
    """The files of an image that `save` wrote, by path; its config document; the number of its layers."""
    found: dict[str, tuple[Any, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        manifest = json.load(outer.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        document = json.load(outer.extractfile(manifest["Config"]))  # type: ignore[arg-type]
        for name in manifest["Layers"]:
            member = outer.getmember(name)
            if member.issym():
                name = os.path.normpath(os.path.join(os.path.dirname(name), member.linkname))
            with tarfile.open(fileobj=io.BytesIO(outer.extractfile(name).read())) as layer:  # type: ignore[union-attr]
                _apply(found, layer)
    return found, document, len(manifest["Layers"])


def _apply(found: dict[str, tuple[Any, ...]], layer: tarfile.TarFile) -> None:
    own: dict[str, tuple[Any, ...]] = {}
    for member in layer:
        path = member.name.strip("/").removeprefix("./")
        folder, base = os.path.split(path)
        if base == ".wh..wh..opq":
            _drop(found, folder + "/", "")
        elif base.startswith(".wh."):
            _drop(found, f"{folder}/{base[4:]}".lstrip("/") + "/", f"{folder}/{base[4:]}".lstrip("/"))
        elif path not in ("", "."):
            own[path] = _entry(layer, member, own)
    for path, entry in own.items():
        if path in found and not (found[path][0] == "d" and entry[0] == "d"):
            _drop(found, path + "/", "")
        found[path] = entry


def _drop(found: dict[str, tuple[Any, ...]], prefix: str, path: str) -> None:
    for name in [n for n in found if n.startswith(prefix) or path and n == path]:
        del found[name]


def _entry(layer: tarfile.TarFile, member: tarfile.TarInfo, own: dict[str, tuple[Any, ...]]) -> tuple[Any, ...]:
    attributes = tuple(sorted((k, v) for k, v in member.pax_headers.items() if "xattr" in k))
    common = (member.mode & 0o7777, member.uid, member.gid)
    if member.isdir():
        return ("d", *common, attributes)
    if member.isreg():
        return ("f", *common, member.size, hashlib.sha256(layer.extractfile(member).read()).hexdigest(), attributes)  # type: ignore[union-attr]
    if member.issym():
        return ("l", member.linkname, member.uid, member.gid)
    if member.islnk():
        return own.get(member.linkname.strip("/").removeprefix("./"), ("?", member.linkname))
    return (member.type, *common, member.devmajor, member.devminor)


def difference(theirs: bytes, ours: bytes) -> list[str]:
    their_files, their_document, their_layers = flat(theirs)
    files, document, count = flat(ours)
    found = [f"{their_layers} layers there, {count} here"] if their_layers != count else []
    for path in sorted({*their_files, *files}):
        x, y = their_files.get(path), files.get(path)
        if x != y and path.split("/")[0] not in ("proc", "sys", "dev") and not _of_the_clock(x, y):
            found.append(f"{path}: {x} there, {y} here")
    for key in sorted({*their_document["config"], *document["config"]} - set(_UNTOLD)):
        x, y = their_document["config"].get(key), document["config"].get(key)
        if (x or None) != (y or None):
            found.append(f"config {key}: {x} there, {y} here")
    said = [[h.get("created_by", "") for h in d["history"]] for d in (their_document, document)]
    found += [f"history: {x!r} there, {y!r} here" for x, y in zip(*said) if x != y and not x.startswith("/bin/sh -c #")]
    return found


def _is_older(text: str) -> bool:
    """Debian's BuildKit knows no heredocs and none of the newer flags."""
    return "dockerfile parse error" in text or "unknown flag" in text or "unknown instruction" in text


def saved(w: Wherry) -> bytes:
    path = w.folder("saved") / "image.tar"
    w.ok("save", "-o", path, "compared")
    data = path.read_bytes()
    path.unlink()
    return data


def _of_the_clock(x: tuple[Any, ...] | None, y: tuple[Any, ...] | None) -> bool:
    """Files with dates, random numbers or process ids in them: the same but for their contents."""
    return bool(x and y and x[0] == y[0] == "f" and x[1:4] == y[1:4] and 0 < x[4] < 200 and abs(x[4] - y[4]) < 4)


def test_the_same_images_as_dockers_builder(docker: Docker, w_root: Wherry, rootfs: Path) -> None:
    large = os.environ.get("WHERRY_DEBIAN", "")
    images = [(name, str(rootfs)) for name in SMALL] + [(name, large) for name in LARGE if large and place.SOAK]
    for name, path in images:
        assert docker("import", "-c", 'CMD ["sh"]', path, name).returncode == 0
        w_root.ok("import", "-c", 'CMD ["sh"]', path, name)
    every = fixtures()
    chosen = every if place.SOAK else every[:: max(1, len(every) // (4 * SAMPLE))]
    compared, different, refused = 0, [], 0
    known = tuple(name for name, _ in images)
    try:
        for name, context, dockerfile in chosen:
            text = dockerfile.read_text(errors="replace")
            bases = re.findall(r"(?im)^\s*FROM\s+(?:--platform=\S+\s+)?(\S+)", text)
            if not place.SOAK and (any("/" in b and b not in known for b in bases) or compared >= SAMPLE):
                continue
            words = ("build", "--network=none", "-q", "-t", "compared", "-f", str(dockerfile), str(context))
            theirs, ours = docker(*words), w_root(*words, "--pull=never", timeout=120)
            if theirs.returncode or ours.returncode:
                refused += 1
                if _is_older(theirs.stderr.decode(errors="replace")) and not ours.returncode:
                    continue
                if name in KNOWN and KNOWN[name].startswith("only:"):
                    continue
                if bool(theirs.returncode) != bool(ours.returncode):
                    said = theirs.stderr.decode(errors="replace") if theirs.returncode else ours.stderr
                    different.append(f"{name}: only {'docker' if theirs.returncode else 'wherry'} refuses: {said.strip()[-300:]}")
                continue
            compared += 1
            lines = difference(docker("save", "compared").stdout, saved(w_root))
            if lines and not (name in KNOWN and all(line.startswith(KNOWN[name].partition(":")[0]) for line in lines)):
                different.append(f"{name}:\n  " + "\n  ".join(lines[:8]))
    finally:
        w_root("rmi", "-f", "compared", *(name for name, _ in images if name != "busybox"))
    print(f"{compared} compared, {refused} refused, {len(different)} different")
    assert not different, "\n".join(different)
    assert compared >= (80 if place.SOAK else 6)
