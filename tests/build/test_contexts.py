"""Where files come from: archives, OCI layouts, folders and repositories by name; cache mounts that travel."""

from __future__ import annotations

import functools
import http.server
import subprocess
import tarfile
import threading
from pathlib import Path

from support.engine import Wherry


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


def context(w: Wherry, files: dict[str, str]) -> Path:
    folder = w.folder("contexts")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    subprocess.run(["chown", "-R", f"{w.user.uid}:{w.user.gid}", str(folder)], check=True)
    return folder


def build(w: Wherry, *words: str | Path) -> str:
    done = w("build", "-t", "contexts", *words)
    assert done.returncode == 0, f"{w.label}: {done.stderr}"
    return str(done.stderr)


def cat(w: Wherry, *paths: str) -> str:
    return w.ok("run", "--rm", "--network", "none", "contexts", "cat", *paths)


def test_an_archive_as_the_context(w_user: Wherry) -> None:
    folder = context(w_user, {"tree/Dockerfile": "FROM busybox\nCOPY a /\n", "tree/a": "in the archive\n", "text": "nothing\n"})
    with tarfile.open(folder / "context.tar.gz", "w:gz") as tar:
        tar.add(folder / "tree", ".")
    build(w_user, folder / "context.tar.gz")
    assert cat(w_user, "/a") == "in the archive"
    refused = w_user("build", folder / "text")
    assert refused.returncode == 1
    assert "neither a folder nor an archive" in refused.stderr


def test_a_folder_and_a_layout_as_what_a_stage_begins_with(w: Wherry) -> None:
    folder = context(
        w,
        {
            "one/Dockerfile": "FROM busybox\nENV FROM_LAYOUT=yes\nRUN echo layout > /l\n",
            "rootfs/f": "file\n",
            "rootfs/.dockerignore": "left\n",
            "rootfs/left": "",
        },
    )
    build(w, "-o", f"type=oci,tar=false,dest={folder}/layout", folder / "one")
    w.ok("rmi", "contexts")
    (folder / "Dockerfile").write_text(
        "FROM files AS f\nFROM base\nRUN test $FROM_LAYOUT = yes\nCOPY --from=f / /files\nCOPY --from=files f /again\nCOPY --from=base l /l2\n"
    )
    words = ["--build-context", f"files={folder}/rootfs", "--build-context", f"base=oci-layout://{folder}/layout"]
    build(w, *words, folder)
    assert cat(w, "/l", "/l2", "/files/f", "/again") == "layout\nlayout\nfile\nfile"
    assert w.ok("run", "--rm", "--network", "none", "contexts", "ls", "/files") == "f"
    assert build(w, *words, folder).count("CACHED") == 5
    (folder / "rootfs/f").write_text("changed\n")
    build(w, *words, folder)
    assert cat(w, "/files/f") == "changed"


def test_an_archive_by_url_and_name(w_user: Wherry) -> None:
    folder = context(w_user, {"tree/f": "fetched\n", "Dockerfile": "FROM busybox\nCOPY --from=code f /f\n"})
    with tarfile.open(folder / "code.tar", "w") as tar:
        tar.add(folder / "tree", ".")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            build(w_user, "--build-context", f"code=http://127.0.0.1:{server.server_address[1]}/code.tar", folder)
        finally:
            server.shutdown()
            thread.join()
    assert cat(w_user, "/f") == "fetched"


def test_cache_mounts_travel(w: Wherry) -> None:
    seed = "FROM busybox AS seed\nRUN mkdir /s && echo seeded > /s/x\nFROM busybox\n"
    folder = context(
        w, {"Dockerfile": seed + "RUN --mount=type=cache,id=t,target=/c,from=seed,source=/s cat /c/x > /x; echo more >> /c/x\n"}
    )
    w("builder", "prune", "-af")
    build(w, folder)
    assert cat(w, "/x") == "seeded"
    (folder / "Dockerfile").write_text("FROM busybox\nRUN --mount=type=cache,id=t,target=/c echo $RANDOM >> /c/log; cp /c/log /log\n")
    build(w, folder)
    assert "t" in w.ok("builder", "cache", "ls", "-q").split()
    w.ok("builder", "cache", "export", "t", f"{folder}/t.tar")
    first = cat(w, "/log")
    w.ok("builder", "prune", "-af")
    w.ok("builder", "cache", "import", "t", f"{folder}/t.tar")
    build(w, "--no-cache", folder)
    assert cat(w, "/log").splitlines()[0] == first
    assert len(cat(w, "/log").splitlines()) == 2
    missing = w("builder", "cache", "export", "nothing", f"{folder}/n.tar")
    assert missing.returncode == 1
    assert "no cache mount 'nothing'" in missing.stderr
    assert not (folder / "n.tar").exists()


def test_a_folder_of_the_host_as_a_cache_mount(w_user: Wherry) -> None:
    folder = context(w_user, {"Dockerfile": "FROM busybox\nRUN --mount=type=cache,id=t,target=/c echo kept > /c/log\n", "cache/x": ""})
    build(w_user, "--cache-mount", f"t={folder}/cache", folder)
    assert (folder / "cache/log").read_text() == "kept\n"


def test_the_cache_is_held_to_a_size(w_user: Wherry) -> None:
    steps = "".join(f"RUN head -c 1000000 /dev/urandom > /f{n}\n" for n in range(4))
    folder = context(w_user, {"Dockerfile": f"FROM busybox AS big\n{steps}FROM busybox\nCOPY --from=big /f3 /f\n"})
    w_user("builder", "prune", "-af")
    build(w_user, folder)
    total = w_user.ok("builder", "du").splitlines()
    assert total[-2].split()[1] == "4MB"
    done = w_user.ok("builder", "prune", "-f", "--max-used-space", "2.5MB")
    assert done.endswith("Total reclaimed space: 2MB")
    assert w_user.ok("builder", "prune", "-f", "--max-used-space", "2.5MB").endswith("Total reclaimed space: 0B")
    assert w_user.ok("builder", "prune", "-f", "--reserved-space", "1GB").endswith("Total reclaimed space: 0B")
    assert w_user.ok("builder", "prune", "-f", "--min-free-space", "1kB").endswith("Total reclaimed space: 0B")
