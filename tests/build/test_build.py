"""`build` as it is used: by root, by a user with subordinate ids, by one without; trees, configs, cache, errors, interruptions."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from support.engine import Wherry

UUID = "cat /proc/sys/kernel/random/uuid"


def context(w: Wherry, dockerfile: str, files: dict[str, str | bytes] | None = None) -> Path:
    """A folder of the user's own with a Dockerfile and files."""
    folder = w.folder("context")
    for name, content in {"Dockerfile": dockerfile, **(files or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    subprocess.run(["chown", "-R", f"{w.user.uid}:{w.user.gid}", str(folder)], check=True)
    return folder


def build(w: Wherry, folder: Path | str, *words: str, **options: Any) -> str:
    """The progress of a build that must succeed."""
    done = w("build", *words, str(folder), **options)
    assert done.returncode == 0, f"{w.label}: {done.stderr}"
    return str(done.stderr)


def fails(w: Wherry, folder: Path | str, *words: str, **options: Any) -> str:
    done = w("build", *words, str(folder), **options)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return str(done.stderr)


def config(w: Wherry, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(w.ok("inspect", name))[0]["Config"]
    return found


def sh(w: Wherry, image: str, text: str) -> str:
    return w.ok("run", "--rm", "--network", "none", image, "sh", "-c", text + "\ntrue")


def test_three_stages(w: Wherry) -> None:
    folder = context(
        w,
        """
FROM busybox AS tools
RUN mkdir /t && echo tool > /t/tool && chmod 755 /t/tool
FROM busybox AS app
WORKDIR /app
COPY src/ .
RUN cat a b > joined
FROM scratch
COPY --from=busybox /bin /bin
COPY --from=tools /t/tool /usr/bin/
COPY --from=app /app/joined /
CMD ["cat", "/joined"]
""",
        {"src/a": "1\n", "src/b": "2\n"},
    )
    build(w, folder, "-t", "three")
    assert w.ok("run", "--rm", "--network", "none", "three") == "1\n2"
    assert sh(w, "three", "stat -c %a /usr/bin/tool; ls /app 2>&1") == "755\nls: /app: No such file or directory"


def test_every_instruction_of_metadata(w_root: Wherry) -> None:
    folder = context(
        w_root,
        """
FROM busybox
ARG WHO=me
MAINTAINER $WHO
ENV A=1 B="two words"
ENV C=$A A=9
LABEL x=$A y="$B"
EXPOSE 80 53/udp 7000-7001
VOLUME /data /more
VOLUME ["/json"]
USER 1000:1000
WORKDIR /srv
WORKDIR sub
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=5s --retries=2 CMD echo ok
SHELL ["/bin/ash", "-c"]
ENTRYPOINT echo
CMD ["a"]
ONBUILD RUN echo trigger
""",
    )
    build(w_root, folder, "-t", "meta", "--label", "z=1")
    found = config(w_root, "meta")
    assert found["Env"][-3:] == ["A=9", "B=two words", "C=1"]
    assert found["Labels"] == {"x": "9", "y": "two words", "z": "1"}
    assert set(found["ExposedPorts"]) == {"80/tcp", "53/udp", "7000/tcp", "7001/tcp"}
    assert set(found["Volumes"]) == {"/data", "/more", "/json"}
    assert (found["User"], found["WorkingDir"], found["StopSignal"]) == ("1000:1000", "/srv/sub", "SIGUSR1")
    assert found["Healthcheck"] == {"Test": ["CMD-SHELL", "echo ok"], "Interval": 5_000_000_000, "Retries": 2}
    assert (found["Entrypoint"], found["Cmd"]) == (["/bin/ash", "-c", "echo"], ["a"])
    assert found["OnBuild"] == ["RUN echo trigger"]


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "expected"),
    [
        ('ENTRYPOINT ["echo", "e"]', 'CMD ["c"]', "e c"),
        ('ENTRYPOINT ["echo", "e"]', "CMD c", "e /bin/sh -c c"),
        ('ENTRYPOINT ["echo", "e"]', "", "e"),
        ("ENTRYPOINT echo e", 'CMD ["c"]', "e"),
        ("ENTRYPOINT echo e", "CMD c", "e"),
        ("", 'CMD ["echo", "c"]', "c"),
        ("", "CMD echo c", "c"),
    ],
)
def test_entrypoint_and_cmd(w_root: Wherry, entrypoint: str, cmd: str, expected: str) -> None:
    build(w_root, context(w_root, f"FROM busybox\n{entrypoint}\n{cmd}\n"), "-t", "matrix")
    assert w_root.ok("run", "--rm", "--network", "none", "matrix") == expected


def test_an_entrypoint_forgets_the_cmd_of_the_base(w_root: Wherry) -> None:
    build(w_root, context(w_root, 'FROM busybox\nENTRYPOINT ["echo"]\n'), "-t", "forgets")
    assert config(w_root, "forgets").get("Cmd") is None


def test_owners_and_modes_of_copies(w: Wherry) -> None:
    folder = context(
        w,
        """
FROM busybox
RUN echo "app:x:1234:4321::/:/bin/sh" >> /etc/passwd && echo "grp:x:77:" >> /etc/group
COPY f /plain
COPY --chown=app f /named
COPY --chown=app:grp --chmod=640 f /both
COPY --chown=55 d /made/for/it/
COPY --chmod=u=rwX,go=rX d /symbolic/
""",
        {"f": "x", "d/s/f": "y"},
    )
    build(w, folder, "-t", "owners")
    listing = "stat -c '%u:%g %a %n' /plain /named /both /made /made/for/it/s /made/for/it/s/f /symbolic/s /symbolic/s/f"
    owners = ["0:0", "1234:4321", "1234:77", "55:55", "55:55", "55:55", "0:0", "0:0"]
    if w.single_id:
        # There is one id only; the wanted owner is kept for a push.
        owners = ["0:0"] * len(owners)
    lines = sh(w, "owners", listing).splitlines()
    assert [line.split()[0] for line in lines] == owners
    assert [line.split()[1] for line in lines] == ["644", "644", "640", "755", "755", "644", "755", "644"]


def test_an_owner_is_kept_for_a_push_where_there_is_one_id(w_nosubids: Wherry) -> None:
    folder = context(w_nosubids, "FROM scratch\nCOPY --chown=7:8 f /f\n", {"f": "x"})
    build(w_nosubids, folder, "-t", "kept")
    data = w_nosubids("save", "kept", text=False).stdout
    found = [m for layer in layers_of(data) for m in layer.getmembers() if m.name == "f"]
    assert [(m.uid, m.gid) for m in found] == [(7, 8)]


def layers_of(archive: bytes) -> list[tarfile.TarFile]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        manifest = json.loads(outer.extractfile("manifest.json").read())  # type: ignore[union-attr]
        return [tarfile.open(fileobj=io.BytesIO(outer.extractfile(name).read())) for name in manifest[0]["Layers"]]  # type: ignore[union-attr]


def test_installing_as_root_in_run(w: Wherry) -> None:
    """What package managers do: owners, set-id bits, users, links, devices that aren't there."""
    folder = context(
        w,
        """
FROM busybox
RUN echo "app:x:1000:1000::/home/app:/bin/sh" >> /etc/passwd && echo "app:x:1000:" >> /etc/group
RUN mkdir -p /home/app && chown -R app:app /home/app && touch /suid && chmod 4755 /suid && ln -s /suid /link && mkfifo /fifo
RUN rm -rf /home/app && mkdir /home/app && rm /link
RUN chown 1000:1000 / && chmod 700 /
RUN touch /after && stat -c "root %a" /
""",
    )
    assert " root 700\n" in build(w, folder, "-t", "install")
    assert sh(w, "install", "stat -c %a /suid; ls /link 2>&1; ls -A /home/app /after /fifo").split("\n") == [
        "4755",
        "ls: /link: No such file or directory",
        "/after",
        "/fifo",
        "",
        "/home/app:",
    ]


def test_whiteouts_and_opaque_folders_survive_a_save_and_a_load(w: Wherry) -> None:
    folder = context(w, "FROM busybox\nRUN mkdir -p /a/b && touch /a/b/c /a/d\nRUN rm -r /a/b && mkdir /a/b && touch /a/b/new && rm /a/d\n")
    build(w, folder, "-t", "gone")
    archive = w.file("gone.tar")
    w.ok("save", "-o", str(archive), "gone")
    names = [m.name for m in layers_of(archive.read_bytes())[-1].getmembers()]
    assert sorted(n.rstrip("/") for n in names) == ["a", "a/.wh.d", "a/b", "a/b/.wh..wh..opq", "a/b/new"]
    w.ok("rmi", "gone")
    w.ok("builder", "prune", "-af")
    w.ok("load", "-q", "-i", str(archive))
    assert sh(w, "gone", "find /a") == "/a\n/a/b\n/a/b/new"


def test_a_run_that_changes_nothing_makes_an_empty_layer(w: Wherry) -> None:
    build(w, context(w, "FROM busybox\nRUN --mount=type=tmpfs,target=/new/place true\nRUN true\nWORKDIR /\n"), "-t", "empty")
    layers = layers_of(w("save", "empty", text=False).stdout)
    assert [m.name for layer in layers[1:] for m in layer.getmembers() if m.name.split("/")[0] not in ("dev", "proc", "sys")] == []


# -- cache -----------------------------------------------------------------------------------------------------------------


def test_a_second_build_does_nothing_and_gives_the_same_image(w: Wherry) -> None:
    folder = context(w, "FROM busybox AS one\nRUN echo 1 > /1\nFROM busybox\nCOPY --from=one /1 /\nCOPY f /\nRUN cat /f /1\n", {"f": "x"})
    first = w.ok("build", "-q", "-t", "again", str(folder))
    text = build(w, folder, "-t", "again")
    # Only what the target takes is looked at: the other stage needn't be known.
    assert text.count("CACHED") == 4 and first in text
    os.utime(folder / "f", (1, 1))
    assert build(w, folder, "-t", "again").count("CACHED") == 4
    (folder / "f").write_text("y")
    text = build(w, folder, "-t", "again")
    assert text.count("CACHED") == 2 and first not in text


def test_no_cache_and_the_filter_of_it(w_root: Wherry) -> None:
    folder = context(
        w_root,
        f"FROM busybox AS one\nRUN {UUID} > /1\nFROM busybox AS two\nRUN {UUID} > /2\nCOPY --from=one /1 /\n",
    )
    build(w_root, folder, "-t", "nc")
    before = sh(w_root, "nc", "cat /1 /2").split()
    build(w_root, folder, "-t", "nc", "--no-cache-filter", "two")
    between = sh(w_root, "nc", "cat /1 /2").split()
    assert between[0] == before[0] and between[1] != before[1]
    build(w_root, folder, "-t", "nc", "--no-cache")
    after = sh(w_root, "nc", "cat /1 /2").split()
    assert after[0] != before[0] and after[1] != between[1]


def test_build_args_are_part_of_the_key_where_they_are_in_scope(w_root: Wherry) -> None:
    folder = context(w_root, "ARG T=busybox\nFROM $T\nRUN echo before\nARG V\nRUN echo $V > /v\n")
    build(w_root, folder, "-t", "args", "--build-arg", "V=1")
    text = build(w_root, folder, "-t", "args", "--build-arg", "V=2")
    assert text.count("CACHED") == 2 and sh(w_root, "args", "cat /v") == "2"
    assert "[Warning] One or more build-args [NOPE] were not consumed" in build(w_root, folder, "--build-arg", "NOPE=1")
    text = build(w_root, folder, "-t", "args", "--build-arg", "V=2", "--build-arg", "HTTP_PROXY=http://nowhere")
    assert text.count("CACHED") == 3


def test_pruning_the_cache(w_root: Wherry) -> None:
    folder = context(w_root, "FROM busybox\nRUN head -c 100000 /dev/zero > /big\n")
    build(w_root, folder, "-t", "pruned")
    assert "100kB*" in w_root.ok("builder", "du")
    w_root.ok("builder", "prune", "-f")
    assert build(w_root, folder, "-t", "pruned").count("CACHED") == 2
    w_root.ok("rmi", "pruned")
    assert "Total reclaimed space: 100kB" in w_root.ok("builder", "prune", "-f")
    assert build(w_root, folder, "-t", "pruned").count("CACHED") == 1
    assert w_root.check() == ""


def test_context_files_that_are_ignored(w: Wherry) -> None:
    files = {".dockerignore": "*\n!keep\nkeep/not\nDockerfile\n", "keep/yes": "1", "keep/not": "2", "out": "3"}
    folder = context(w, "FROM busybox\nCOPY . /c\nRUN find /c\n", files)
    assert "/c/keep/yes" in (text := build(w, folder, "-t", "ignored")) and "/c/keep/not" not in text and "/c/out" not in text
    text = fails(w, context(w, "FROM busybox\nCOPY out /\n", files))
    assert 'failed to compute cache key: "/out": not found' in text and ".dockerignore leaves it out" in text


# -- mounts of RUN -----------------------------------------------------------------------------------------------------------


def test_mounts_of_all_kinds(w: Wherry) -> None:
    folder = context(
        w,
        """
FROM busybox AS other
RUN mkdir /o && echo from-stage > /o/f
FROM busybox
RUN --mount=type=bind,target=/ctx cat /ctx/f && ! ls /ctx/hidden && ! touch /ctx/f
RUN --mount=type=bind,target=/ctx,rw echo changed > /ctx/f && cat /ctx/f
RUN --mount=type=bind,from=other,source=/o,target=/o cat /o/f
RUN --mount=type=cache,target=/cache,mode=0700 echo a >> /cache/l && stat -c %a /cache
RUN --mount=type=cache,target=/cache,sharing=locked echo b >> /cache/l && wc -l < /cache/l > /lines
RUN --mount=type=secret,id=s,target=/s,mode=0444 --mount=type=secret,id=s,env=S test "$S" = "$(cat /s)"
RUN --mount=type=secret,id=none ls /run/secrets/none 2>&1 | grep -i "no such"
""",
        {"f": "context\n", "hidden": "x", ".dockerignore": "hidden\n"},
    )
    secret = w.file("secret", "sesame")
    text = build(w, folder, "-t", "mounts", "--secret", f"id=s,src={secret}")
    for expected in ("context", "changed", "from-stage", "700"):
        assert f" {expected}\n" in text
    assert (folder / "f").read_text() == "context\n"
    assert sh(w, "mounts", "cat /lines; ls -d /ctx /o /cache /s 2>&1 | grep -vc 'No such'; true") == "2\n0"
    assert subprocess.run(["grep", "-rq", "sesame", str(w.root), str(w.runroot)]).returncode == 1
    assert "sesame" not in w.ok("history", "--no-trunc", "mounts")


def test_a_required_secret_that_is_not_given(w_root: Wherry) -> None:
    folder = context(w_root, "FROM busybox\nRUN --mount=type=secret,id=s,required cat /run/secrets/s\n")
    assert "secret s: not found" in fails(w_root, folder)


def test_networks_of_run(w: Wherry) -> None:
    folder = context(
        w,
        "FROM busybox\nRUN --network=none test $(ls /sys/class/net | wc -l) -le 1 || test $(wc -l < /proc/net/dev) -le 3\nRUN wc -l < /proc/net/dev\n",
    )
    build(w, folder)


# -- ADD ---------------------------------------------------------------------------------------------------------------------


def archive(names: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.uid = 12
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_add_unpacks_archives_by_their_contents(w_root: Wherry, mode: str) -> None:
    files = {"a.bin": archive({"d/f": b"1"}, mode), "b.tar": b"no archive"}
    build(w_root, context(w_root, "FROM busybox\nADD a.bin b.tar /x/\nCOPY a.bin /y/\n", files), "-t", "added")
    assert sh(w_root, "added", "find /x /y -type f | sort; stat -c %u /x/d/f") == "/x/b.tar\n/x/d/f\n/y/a.bin\n12"


def test_add_of_a_hostile_archive_stays_inside(w: Wherry) -> None:
    files = {"evil.tar": archive({"../../../../out": b"x", "/abs": b"y"}, "w:")}
    done = w("build", str(context(w, "FROM busybox\nADD evil.tar /d/\n", files)))
    assert done.returncode in (0, 1)
    assert not Path("/out").exists() and not Path("/abs").exists()


def test_add_of_a_url(w_root: Wherry, tmp_path: Path) -> None:
    import functools
    import http.server
    import threading

    (tmp_path / "f.txt").write_text("fetched")
    os.utime(tmp_path / "f.txt", (1_000_000_000, 1_000_000_000))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        build(w_root, context(w_root, f"FROM busybox\nADD {url}/f.txt /d/\n"), "-t", "url")
        assert sh(w_root, "url", "cat /d/f.txt; stat -c '%a %Y' /d/f.txt") == "fetched600 1000000000"
        wrong = f"FROM busybox\nADD --checksum=sha256:{'0' * 64} {url}/f.txt /d/\n"
        assert "digest mismatch" in fails(w_root, context(w_root, wrong))
        assert "404" in fails(w_root, context(w_root, f"FROM busybox\nADD {url}/none /d/\n"))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# -- copies ------------------------------------------------------------------------------------------------------------------


def test_links_where_copies_land(w: Wherry) -> None:
    folder = context(
        w,
        """
FROM busybox
RUN mkdir /real /d && ln -s /real /link && ln -s ../real/target /d/file && ln -s /real/dir /dangling
COPY f /link/
COPY f /d/file
COPY d /link/sub/
""",
        {"f": "x", "d/y": "y"},
    )
    build(w, folder, "-t", "links")
    assert sh(w, "links", "find /real -type f | sort; readlink /d/file") == "/real/f\n/real/sub/y\n/real/target\n../real/target"


def test_copies_that_cannot_be(w_root: Wherry) -> None:
    files = {"f": "x", "d/y": "y"}
    for text, message in (
        ("RUN touch /file\nCOPY d /file\n", "cannot copy to non-directory: /file"),
        ("RUN mkdir -p /x/f\nCOPY f /x/\n", "cannot replace to directory /x/f with file"),
        ("COPY f d /x\n", "the destination must be a directory and end with a /"),
        ("COPY --chown=nobodyatall f /x\n", "unable to find user nobodyatall: no matching entries in passwd file"),
        ("COPY --chmod=9 f /x\n", "invalid chmod parameter"),
        ("COPY ../../etc/passwd /x\n", '"/etc/passwd": not found'),
        ("COPY --from=nosuchimage:here /x /y\n", "nosuchimage"),
    ):
        assert message in fails(w_root, context(w_root, "FROM busybox\n" + text, files)), text


def test_a_context_link_leads_nowhere_outside(w: Wherry) -> None:
    folder = context(w, "FROM busybox\nCOPY passwd /x\n")
    (folder / "passwd").symlink_to("/etc/passwd")
    assert '"/passwd": not found' in fails(w, folder)


def test_a_link_of_an_earlier_step_leads_nowhere_outside(w: Wherry) -> None:
    canary = w.folder("canary")
    folder = context(
        w,
        f"FROM busybox\nRUN mkdir -p /a && ln -s {canary} /a/out && ln -s ../../../../../..{canary} /a/up\nCOPY f /a/out/f\nCOPY f /a/up/f\nWORKDIR /a/out/w\n",
        {"f": "x"},
    )
    w("build", str(folder))
    assert list(canary.iterdir()) == []


def test_exclude_parents_and_globs(w_root: Wherry) -> None:
    files = {"x/a.txt": "1", "x/b.md": "2", "x/y/c.txt": "3", "x/y/d.md": "4", "z.txt": "5"}
    folder = context(
        w_root,
        "FROM busybox\nCOPY --exclude=**/*.md x /e/\nCOPY --parents x/*.txt x/y/d.md /p/\nCOPY --parents x/./y/c.txt /q/\nCOPY *.txt x/?.txt /g/\n",
        files,
    )
    build(w_root, folder, "-t", "globs")
    assert sh(w_root, "globs", "find /e /p /q /g -type f | sort").split() == [
        "/e/a.txt", "/e/y/c.txt", "/g/a.txt", "/g/z.txt", "/p/x/a.txt", "/p/x/y/d.md", "/q/y/c.txt",
    ]  # fmt: skip


def test_onbuild_runs_in_the_next_build(w_root: Wherry) -> None:
    build(w_root, context(w_root, "FROM busybox\nONBUILD COPY f /f\nONBUILD RUN cat /f > /g\n"), "-t", "trigger")
    build(w_root, context(w_root, "FROM trigger\n", {"f": "triggered"}), "-t", "pulled")
    assert sh(w_root, "pulled", "cat /g") == "triggered" and not config(w_root, "pulled").get("OnBuild")


# -- contexts and outputs ------------------------------------------------------------------------------------------------------


def test_context_and_dockerfile_from_standard_input(w_root: Wherry) -> None:
    tar = archive({"Dockerfile": b"FROM busybox\nCOPY f /\n", "f": b"tarred"})
    done = w_root("build", "-q", "-t", "stdin", "-", input=tar, text=False)
    assert done.returncode == 0, done.stderr
    assert sh(w_root, "stdin", "cat /f") == "tarred"
    done = w_root("build", "-q", "-t", "stdin", "-", input="FROM busybox\nRUN echo 1 > /one\n")
    assert done.returncode == 0 and sh(w_root, "stdin", "cat /one") == "1"
    folder = context(w_root, "FROM nothing\n", {"f": "filed"})
    done = w_root("build", "-q", "-t", "stdin", "-f", "-", str(folder), input="FROM busybox\nCOPY f /\n")
    assert done.returncode == 0 and sh(w_root, "stdin", "cat /f") == "filed"


def test_outputs(w: Wherry) -> None:
    folder = context(w, "FROM scratch\nCOPY --chmod=600 f d /o/\n", {"f": "x", "d/g": "y"})
    out = w.folder("out")
    build(w, folder, "-o", str(out))
    assert (out / "o/f").read_text() == "x" and (out / "o/g").stat().st_uid == w.user.uid
    done = w("build", "-o", "-", str(folder), text=False)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert sorted(m.name for m in tar if m.isfile()) == ["o/f", "o/g"]
    path = w.folder("archives") / "oci.tar"
    build(w, folder, "-t", "out", "-o", f"type=oci,dest={path}")
    with tarfile.open(path) as tar:
        assert "oci-layout" in tar.getnames()
    assert w("images", "-q").stdout.count("\n") >= 1


def test_files_of_results(w_root: Wherry) -> None:
    folder = context(w_root, "FROM busybox\nLABEL a=b\n")
    out = w_root.folder("out")
    image = w_root.ok("build", "-q", "-t", "res", "--iidfile", str(out / "iid"), "--metadata-file", str(out / "meta"), str(folder))
    assert (out / "iid").read_text() == image and json.loads((out / "meta").read_text())["containerimage.config.digest"] == image
    assert json.loads(w_root.ok("inspect", "res"))[0]["Id"] == image


def test_the_same_time_gives_the_same_image(w_root: Wherry) -> None:
    folder = context(w_root, "FROM busybox\nCOPY f /\nLABEL a=b\n", {"f": "x"})
    first = w_root.ok("build", "-q", "--no-cache", "--source-date-epoch", "1000", str(folder))
    os.utime(folder / "f", (5, 5))
    assert w_root.ok("build", "-q", "--no-cache", "--source-date-epoch", "1000", str(folder)) == first


# -- failures ----------------------------------------------------------------------------------------------------------------


def test_a_failed_step_shows_output_lines_and_status(w: Wherry) -> None:
    text = fails(w, context(w, "FROM busybox\nRUN echo said && exit 3\n"))
    assert "#4 ERROR: process" in text and "exit code: 3" in text
    assert "------\n > [2/2] RUN echo said && exit 3:\nsaid\n------\n" in text
    assert "Dockerfile:2\n--------------------\n   1 |     FROM busybox\n   2 | >>> RUN echo said && exit 3\n" in text
    assert text.rstrip().endswith(
        'ERROR: failed to build: failed to solve: process "/bin/sh -c echo said && exit 3" did not complete successfully: exit code: 3'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM a AS x\nFROM b AS y\nCOPY --from=y / /\n", "circular dependency detected on stage: y"),
        ("FROM busybox\nCOPY --from=1 / /\nFROM busybox\nCOPY --from=0 / /\n", "circular dependency detected"),
        ("FROM busybox\nRUN --security=insecure true\n", "security.insecure is not allowed"),
        ("FROM $NOTHING\n", "base name ($NOTHING) should not be blank"),
        ("RUN x\n", "no build stage in current context"),
        ("", "the Dockerfile (Dockerfile) cannot be empty"),
        ('FROM busybox\nENV a="${b:?must be given}"\n', "b: must be given"),
        ("FROM busybox\nSTOPSIGNAL NOSUCH\n", "Invalid signal: NOSUCH"),
        ("FROM busybox\nEXPOSE x\n", "Invalid containerPort: x"),
        ('FROM busybox\nRUN ["nosuchprogram"]\n', "nosuchprogram"),
    ],
)
def test_what_is_refused(w_root: Wherry, text: str, message: str) -> None:
    assert message in fails(w_root, context(w_root, text))


def test_a_target_that_is_not_there(w_root: Wherry) -> None:
    folder = context(w_root, "FROM busybox AS builder\n")
    assert 'target stage "buidler" could not be found (did you mean builder?)' in fails(w_root, folder, "--target", "buidler")


def test_stages_run_side_by_side(w_root: Wherry) -> None:
    stages = "".join(f"FROM busybox AS s{n}\nRUN sleep 0.7 && echo {n} > /{n}\n" for n in range(4))
    copies = "".join(f"COPY --from=s{n} /{n} /\n" for n in range(4))
    folder = context(w_root, f"{stages}FROM busybox\n{copies}")
    start = time.monotonic()
    build(w_root, folder, "--no-cache", "-t", "parallel")
    assert time.monotonic() - start < 4 * 0.7
    assert sh(w_root, "parallel", "cat /0 /1 /2 /3").split() == ["0", "1", "2", "3"]


def test_a_failure_stops_the_other_stages(w: Wherry) -> None:
    folder = context(w, "FROM busybox AS slow\nRUN sleep 30\nFROM busybox\nRUN sleep 0.3 && false\nCOPY --from=slow / /x\n")
    start = time.monotonic()
    assert "did not complete successfully: exit code: 1" in fails(w, folder)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_build_and_leaves_nothing(w: Wherry, number: int) -> None:
    folder = context(w, "FROM busybox\nRUN echo kept > /k\nRUN sleep 60\n")
    process = w.popen("build", str(folder))
    assert process.stderr is not None
    for line in process.stderr:
        if b"sleep 60" in line:
            break
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(10) == 130
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()  # type: ignore[union-attr]
    (folder / "Dockerfile").write_text("FROM busybox\nRUN echo kept > /k\n")
    assert build(w, folder).count("CACHED") == 2


def test_a_killed_builder_leaves_its_step_to_the_next_command(w: Wherry) -> None:
    process = w.popen("build", str(context(w, "FROM busybox\nRUN sleep 60\n")))
    assert process.stderr is not None
    for line in process.stderr:
        if b"sleep 60" in line:
            break
    time.sleep(0.3)
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()  # type: ignore[union-attr]
    w.ok("ps", "-a")
    w.until(lambda: not list((w.runroot / "live").iterdir()))
    w.ok("ps", "-a")
    assert w.check() == ""


def test_two_builds_of_the_same_do_each_step_once(w_root: Wherry) -> None:
    folder = context(w_root, "FROM busybox\nRUN sleep 1 && cat /proc/sys/kernel/random/uuid > /n\n")
    processes = [w_root.popen("build", "-q", str(folder)) for _ in range(3)]
    images = {p.communicate()[0] for p in processes}
    assert len(images) == 1 and all(p.returncode == 0 for p in processes)
