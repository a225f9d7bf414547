"""wherry in a container: of wherry, and as root that has lost the right to mount, as in docker's and podman's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.engine import Wherry


def inner(w: Wherry, *options: str) -> tuple[int, str, str]:
    """A container whose programs are the host's, with this wherry and the archive in it; the script imports and runs."""
    venv = w.command.parent.parent
    python = Path(os.path.realpath(venv / "bin/python"))
    places = {str(venv), "/usr", "/lib", *(["/lib64"] if os.path.exists("/lib64") else [])}
    if not str(python).startswith("/usr/"):
        places.add(str(python.parent.parent))
    binds = [word for place in sorted(places) for word in ("-v", f"{place}:{place}:ro")]
    archive = w.folder("archive") / "rootfs.tar"
    archive.write_bytes(ROOTFS[0])
    archive.chmod(0o644)
    script = f"{w.command} import /rootfs.tar inside && {w.command} run --rm --network none --pull never inside echo from inside"
    words = [*options, "-e", "WHERRY_ROOT=/store", *binds, "-v", f"{archive}:/rootfs.tar:ro", "busybox", "/usr/bin/env", "sh", "-c", script]
    done = w("run", "--rm", "--network", "none", *words)
    return done.returncode, done.stdout, done.stderr


ROOTFS: list[bytes] = []


@pytest.fixture(autouse=True)
def _archive(rootfs: Path) -> None:
    ROOTFS[:] = [rootfs.read_bytes()]


def test_wherry_in_wherry(w_root: Wherry) -> None:
    store = w_root.folder("inner")
    code, out, err = inner(w_root, "--security-opt", "seccomp=unconfined", "--security-opt", "unmask=ALL", "-v", f"{store}:/store")
    assert code == 0 and out.splitlines()[-1] == "from inside", (code, out, err)


def test_without_the_options_the_error_names_them(w_root: Wherry) -> None:
    code, out, err = inner(w_root, "-v", f"{w_root.folder('inner')}:/store")
    assert code != 0 and "seccomp=unconfined" in err and "unmask=ALL" in err and "Traceback" not in err, (code, out, err)


def test_root_that_may_not_mount_is_an_ordinary_user(w_root: Wherry, rootfs: Path) -> None:
    w = w_root
    store, run = w.folder("weak"), w.folder("weakrun")
    run.chmod(0o700)
    become = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"]
    words = [*become, str(w.command), "--root", str(store / "s"), "--runroot", str(run / "r")]
    assert w.host(*words, "import", rootfs, "busybox").returncode == 0
    done = w.host(*words, "run", "--rm", "--network", "none", "busybox", "cat", "/proc/self/uid_map")
    assert done.returncode == 0 and done.stdout.split()[2] != "4294967295", done
    assert "a --ulimit" not in done.stderr
