"""Fixtures of all tests. `w` is the one that behaviour tests use: the installed command as root, as a user with subordinate ids
and as a user without, on a store with one image (`busybox`), checked for leaks after each test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import leaks, place, users
from support.engine import Wherry
from support.installed import install

KINDS = ("root", "user", "nosubids")


def pytest_configure() -> None:
    """A run that is told to end takes its users and containers away first."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", returncode=143))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout."""
    if not (place.SHARED / "data").is_dir():
        pytest.skip(f"no reference data at {place.SHARED} (WHERRY_SHARED names the place)")
    return place.SHARED


@pytest.fixture(scope="session")
def reachable() -> Iterator[Path]:
    """A folder that every user of the machine can enter."""
    folder = Path(tempfile.mkdtemp(prefix="wherry-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def command(reachable: Path) -> Path:
    """The path of the command, installed from the checkout's wheel."""
    return install(reachable)


@pytest.fixture(scope="session")
def rootfs(reachable: Path) -> Path:
    """A tar archive of a small root file system."""
    path = reachable / "rootfs.tar"
    done = subprocess.run([sys.executable, str(place.CHECKOUT / "tools/rootfs.py"), str(path)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(done.stderr.strip())
    path.chmod(0o644)
    return path


@pytest.fixture(scope="session")
def engines(command: Path, rootfs: Path, reachable: Path) -> Iterator[dict[str, Wherry | str]]:
    """One engine for each kind of user that can be had here; else the reason why not."""
    found: dict[str, Wherry | str] = {}
    made: list[users.User] = []

    def add(kind: str, user: users.User, base: Path) -> None:
        w = Wherry(command, user, base, kind)
        done = w("import", "-c", 'CMD ["sh"]', "-m", "for the tests", rootfs, "busybox")
        found[kind] = w if done.returncode == 0 else f"importing an image failed: exit {done.returncode}: {done.stderr}"

    if os.geteuid() == 0:
        wanted = (os.environ.get("WHERRY_KINDS") or ",".join(KINDS)).split(",")
        found.update({kind: "WHERRY_KINDS leaves it out" for kind in KINDS if kind not in wanted})
        if "root" in wanted:
            base = reachable / "root"
            base.mkdir(mode=0o755)
            add("root", users.root(), base)
        for kind, subids in (("user", True), ("nosubids", False)):
            if kind not in wanted:
                continue
            name = f"wt{os.getpid()}{kind[0]}"
            user = users.make(name, reachable / kind, subids=subids)
            made.append(user)
            user.home.chmod(0o755)
            add(kind, user, user.home)
    else:
        user = users.me()
        kind = "user" if user.subids else "nosubids"
        for other in KINDS:
            found[other] = "the tests don't run as root, who could become somebody else"
        base = reachable / kind
        base.mkdir(mode=0o755)
        add(kind, user, base)
    yield found
    for w in found.values():
        if isinstance(w, Wherry):
            w("rm", "-f", *(w("ps", "-aq").stdout.split() or ["-"]))
            w("network", "down")
    for user in made:
        users.remove(user)


def engine_of(engines: dict[str, Wherry | str], kind: str) -> Wherry:
    found = engines[kind]
    if isinstance(found, str):
        if found.startswith("importing"):
            pytest.fail(f"{kind}: {found}")
        pytest.skip(f"{kind}: {found}")
    return found


def watched(w: Wherry) -> Iterator[Wherry]:
    yield w
    w.forget_all()
    found = leaks.find(w)
    assert not found, f"{w.label}: left behind: {found}"


@pytest.fixture(params=KINDS)
def w(request: pytest.FixtureRequest, engines: dict[str, Wherry | str]) -> Iterator[Wherry]:
    yield from watched(engine_of(engines, request.param))


@pytest.fixture
def w_root(engines: dict[str, Wherry | str]) -> Iterator[Wherry]:
    yield from watched(engine_of(engines, "root"))


@pytest.fixture
def w_user(engines: dict[str, Wherry | str]) -> Iterator[Wherry]:
    yield from watched(engine_of(engines, "user"))


@pytest.fixture
def w_nosubids(engines: dict[str, Wherry | str]) -> Iterator[Wherry]:
    yield from watched(engine_of(engines, "nosubids"))
