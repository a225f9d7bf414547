"""Dockerfiles, contexts and images that want more than they should have. A canary outside stays as it is; time and memory are bounded."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from support import place
from support.engine import Wherry

SECRET = "canary, not for builds\n"


def context(w: Wherry, dockerfile: str, files: dict[str, str] | None = None) -> Path:
    folder = w.folder("hostile")
    outside = folder / "outside"
    outside.mkdir()
    (outside / "canary").write_text(SECRET)
    inside = folder / "context"
    inside.mkdir()
    for name, content in {"Dockerfile": dockerfile.replace("OUTSIDE", str(outside)), **(files or {})}.items():
        (inside / name).write_text(content)
    subprocess.run(["chown", "-R", f"{w.user.uid}:{w.user.gid}", str(folder)], check=True)
    return inside


@pytest.fixture
def each(w: Wherry) -> Wherry:
    """Root, whose files everybody's would be at stake, in CI; every user in a soak."""
    if not w.is_root and not place.SOAK:
        pytest.skip("ordinary users' turn comes with WHERRY_SOAK")
    return w


def unharmed(inside: Path) -> None:
    outside = inside.parent / "outside"
    assert sorted(os.listdir(outside)) == ["canary"]
    assert (outside / "canary").read_text() == SECRET


def build(w: Wherry, inside: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = w("build", "-t", "hostile", *words, inside, timeout=100)
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr, done.stderr
    unharmed(inside)
    return done


# What each says may fail or may succeed inside; it may not see or change what lies outside.
MOUNTS = [
    "--mount=type=bind,source=../outside,target=/m",
    "--mount=type=bind,source=OUTSIDE,target=/m",
    "--mount=type=bind,source=out,target=/m",
    "--mount=type=bind,source=out/canary,target=/m/canary",
    "--mount=type=bind,rw,source=out,target=/m",
    "--mount=type=bind,from=busybox,source=../../../../../OUTSIDE,target=/m",
    "--mount=type=cache,id=../../../outside,target=/m",
    "--mount=type=cache,id=OUTSIDE,target=/m",
    "--mount=type=cache,from=busybox,source=../../../OUTSIDE,target=/m",
    "--mount=type=tmpfs,target=../../../../OUTSIDE",
    "--mount=type=secret,id=s,target=../../../../OUTSIDE/s",
    "--mount=type=bind,source=.,target=/escape/m,rw",
    "--mount=type=cache,id=x,target=/escape/../../m",
]


def test_mounts_reach_nothing_outside(each: Wherry) -> None:
    runs = "".join(f"FROM base AS s{n}\nRUN {m} cat /m/canary 2>/dev/null; echo x > /m/planted; true\n" for n, m in enumerate(MOUNTS))
    inside = context(each, f"FROM busybox AS base\nRUN ln -s OUTSIDE /escape\n{runs}")
    os.symlink("../outside", inside / "out")
    for number in range(len(MOUNTS)):
        done = build(each, inside, "--target", f"s{number}", "--secret", "id=s,env=PATH", "--progress", "plain")
        assert "canary, not" not in done.stderr, MOUNTS[number]


COPIES = [
    "COPY ../outside/canary /got",
    "COPY OUTSIDE/canary /got",
    "COPY out/canary /got",
    "COPY link /got",
    "ADD link /got",
    "COPY --parents ../outside/./canary /got",
    "COPY --from=planted /escape/canary /got",
    "COPY --from=planted /up/up/up/up/OUTSIDE/canary /got",
    "RUN --mount=type=bind,from=planted,source=/escape,target=/m cat /m/canary > /got",
]


def test_copies_take_nothing_from_outside(each: Wherry) -> None:
    stages = "".join(f"FROM busybox AS s{n}\n{text}\n" for n, text in enumerate(COPIES))
    inside = context(each, f"FROM busybox AS planted\nRUN ln -s OUTSIDE /escape && ln -s .. /up\n{stages}")
    os.symlink("../outside", inside / "out")
    os.symlink(str(inside.parent / "outside/canary"), inside / "link")
    for number, text in enumerate(COPIES):
        done = build(each, inside, "--target", f"s{number}")
        if done.returncode == 0:
            assert "canary" not in each.ok("run", "--rm", "--network", "none", "hostile", "cat", "/got"), text


WRITES = [
    "COPY f /escape/planted",
    "COPY f /escape/",
    "COPY f /file/",
    "ADD archive.tar /escape/",
    "ADD archive.tar /",
    "WORKDIR /escape/made",
    "WORKDIR /file/made",
    "COPY --chown=nobody:nobody f /escape/canary",
    "COPY <<EOF /escape/canary\nchanged\nEOF",
    "COPY --link f /escape/canary",
    "COPY --parents ./f /escape/",
]


def test_writes_land_nowhere_outside(each: Wherry) -> None:
    stages = "".join(f"FROM planted AS s{n}\n{text}\n" for n, text in enumerate(WRITES))
    inside = context(
        each, f"FROM busybox AS planted\nRUN ln -s OUTSIDE /escape && touch /file && ln -s /escape /again\n{stages}", {"f": "planted\n"}
    )
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind, target in (("a", tarfile.SYMTYPE, str(inside.parent / "outside")), ("b", tarfile.SYMTYPE, "../../../..")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
        for name in ("a/planted", f"b{inside.parent}/outside/planted", "../../../planted", f"{inside.parent}/outside/planted"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"x\n"))
        member = tarfile.TarInfo("hard")
        member.type, member.linkname = tarfile.LNKTYPE, str(inside.parent / "outside/canary")
        tar.addfile(member)
    (inside / "archive.tar").write_bytes(data.getvalue())
    for number in range(len(WRITES)):
        build(each, inside, "--target", f"s{number}")


@pytest.mark.parametrize(
    "plant",
    ["mkfifo /etc/passwd", "mknod /etc/passwd c 1 5", "ln -s /dev/zero /etc/passwd", "ln -s passwd /etc/passwd", "mkdir /etc/passwd"],
)
def test_user_databases_that_never_end(w_root: Wherry, plant: str) -> None:
    inside = context(
        w_root, f"FROM busybox\nRUN rm -rf /etc/passwd; {plant} || true\nCOPY --chown=someone f /f\nUSER someone\nRUN id\n", {"f": ""}
    )
    begun = time.monotonic()
    assert build(w_root, inside).returncode == 1
    assert time.monotonic() - begun < 20


def test_names_of_users_out_of_a_link(w: Wherry) -> None:
    inside = context(w, "FROM busybox\nRUN rm -f /etc/passwd; ln -s OUTSIDE/passwd /etc/passwd\nCOPY --chown=outsider f /f\n", {"f": ""})
    (inside.parent / "outside/passwd").write_text("outsider:x:5:5::/:/bin/sh\n")
    done = w("build", inside)
    assert done.returncode == 1
    assert "unable to find user outsider" in done.stderr
    (inside.parent / "outside/passwd").unlink()


BOMBS = {
    "a file of 100 MB": ("FROM busybox\n# " + "x" * 100_000_000, 1),
    "ten thousand stages": ("FROM busybox AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\n" for n in range(9_998)), 0),
    "too many stages": ("FROM busybox\n" * 20_000, 1),
    "a circle": ("FROM busybox AS a\nCOPY --from=b / /\nFROM busybox AS b\nCOPY --from=a / /\nFROM b\n", 1),
    "a circle with itself": ("FROM busybox AS a\nCOPY --from=a /bin /\n", 1),
    "values that double": (
        "FROM busybox\nARG A0=0123456789\n" + "".join(f"ARG A{n + 1}=$A{n}$A{n}\n" for n in range(40)) + "LABEL x=$A40\n",
        1,
    ),
    "patterns that back-track": ("FROM busybox\nARG A=" + "a" * 5000 + "\nARG B=${A//a*a*a*a*a*a*a*b/x}\nLABEL x=$B\n", 0),
    "a deep nest": ("FROM busybox\nLABEL x=" + "${y:-" * 5000 + "}" * 5000 + "\n", 1),
    "a thousand heredocs": (
        "FROM busybox\nCOPY " + " ".join(f"<<E{n}" for n in range(1000)) + " /\n" + "".join(f"E{n}\n" for n in range(1000)),
        0,
    ),
    "globs of stars": ("FROM busybox\nCOPY " + "/".join(["**"] * 30) + "/nothing /\n", 0),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_little(w_root: Wherry, name: str) -> None:
    text, code = BOMBS[name]
    inside = context(w_root, text)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    limit = 700 << 20

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = w_root("build", "-q", inside, timeout=200, preexec_fn=bounded)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 15
    assert "Traceback" not in done.stderr and "MemoryError" not in done.stderr, done.stderr[-500:]
    assert done.returncode == code, done.stderr[-500:]


def test_an_image_is_no_cache(w_user: Wherry) -> None:
    """An image whose config claims what a build would do is never taken for it."""
    inside = context(w_user, "FROM busybox\nRUN echo honest > /f\n")
    assert build(w_user, inside).returncode == 0
    w_user.ok("save", "-o", inside.parent / "planted.tar", "hostile")
    w_user.ok("rmi", "-f", "hostile")
    w_user.ok("builder", "prune", "-af")
    w_user.ok("load", "-i", inside.parent / "planted.tar")
    done = build(w_user, inside)
    assert "#4 [2/2] RUN echo honest > /f\n#4 DONE" in done.stderr


def test_secrets_are_nowhere(w: Wherry) -> None:
    secret = f"hidden{os.getpid()}word"
    inside = context(
        w, 'FROM busybox\nRUN --mount=type=secret,id=s,env=S --mount=type=secret,id=s test "$S" = "$(cat /run/secrets/s)" && sleep 0.5\n'
    )
    done = w("build", "-t", "hostile", "--secret", "id=s,env=WORD", inside, env={"WORD": secret})
    assert done.returncode == 0, done.stderr
    assert secret not in done.stderr
    assert secret not in w.ok("history", "--no-trunc", "hostile") + w.ok("inspect", "hostile")
    for folder in (w.root, w.runroot):
        found = subprocess.run(["grep", "-rla", secret, str(folder)], capture_output=True, text=True)
        assert found.stdout == ""
