"""The native program as three kinds of user, each with a root file system and a folder of his own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from native.driver import Native, until
from support import users
from support.place import CHECKOUT
from support.turns import turn

PROGRAM = CHECKOUT / "src/wherry/_bin/wherry-native"


@pytest.fixture(scope="session")
def program(reachable: Path) -> Path:
    """A copy that every user may execute; whose owner it is decides what a container of his could write."""
    with turn("build"):
        done = subprocess.run(["make", "-s", "-C", str(CHECKOUT / "native")], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the native program can't be built: {done.stderr[-500:]}")
    return Path(shutil.copy(PROGRAM, reachable / "wherry-native"))


@pytest.fixture(scope="session", params=["root", "user", "nosubids"])
def who(request: pytest.FixtureRequest, reachable: Path) -> Iterator[users.User]:
    kind = request.param
    if os.geteuid() != 0:
        user = users.me()
        if kind != ("user" if user.subids else "nosubids"):
            pytest.skip("only root can be somebody else")
        yield user
        return
    if kind == "root":
        yield users.root()
        return
    user = users.make(f"wn{os.getpid()}{kind[0]}", reachable / f"native-{kind}-{os.urandom(2).hex()}", subids=kind == "user")
    user.home.chmod(0o755)
    yield user
    users.remove(user)


@pytest.fixture
def native(who: users.User, program: Path, rootfs: Path, reachable: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Native]:
    place = reachable / f"n{os.urandom(4).hex()}"
    place.mkdir(mode=0o755)
    tree = place / "rootfs"
    tree.mkdir()
    subprocess.run(["tar", "-xf", str(rootfs), "-C", str(tree)], check=True)
    own = place / "wherry-native"
    shutil.copy(program, own)
    n = Native(own, who, place, tree)
    for top, folders, files in os.walk(place):
        for name in (".", *folders, *files):
            os.chown(os.path.join(top, name), who.uid, who.gid, follow_symlinks=False)
    yield n
    until(lambda: not n.processes(), 5.0)  # EXIT is not quite the last thing a monitor does
    left = n.processes()
    n.kill(left)
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(place) in line]
    shutil.rmtree(place, ignore_errors=True)
    assert not left, f"processes were left: {left}"
    assert not mounts, f"mounts were left: {mounts}"
