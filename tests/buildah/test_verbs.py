"""Buildah's verbs: scripts written for it run unchanged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import Wherry


@pytest.fixture
def b(w: Wherry) -> Iterator[Wherry]:
    yield w
    w("buildah", "rm", "-a")


def script(w: Wherry, text: str, *before: str) -> subprocess.CompletedProcess[str]:
    """A shell script in which `buildah` is the group of that name."""
    path = w.folder("bin")
    program = path / "buildah"
    program.write_text(f'#!/bin/sh\nexec {" ".join(w.words("buildah"))} "$@"\n')
    program.chmod(0o755)
    file = path / "script"
    file.write_text("#!/bin/sh\nset -eu\n" + text)
    file.chmod(0o755)
    return subprocess.run([*before, str(file)], capture_output=True, text=True, **w.options({"env": {"PATH": f"{path}:{w.env['PATH']}"}}))


def test_a_script_makes_an_image(b: Wherry) -> None:
    w = b
    here = w.folder("files")
    for name, content in {"a": "one", "sub/b": "two"}.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(content)
    os.chmod(here / "sub", 0o755)
    done = script(
        w,
        f"""
c=$(buildah from busybox)
test "$c" = busybox-working-container
cd {here}
buildah run "$c" -- sh -c 'echo built > /etc/built; test $(id -u) = 0'
buildah copy -q $c a /opt/a
buildah copy -q --chown 5:6 --chmod 640 "$c" sub /opt/sub
buildah add -q $c a sub/b /srv
buildah config --env A=b --env C=d --label x=y --port 80 --author me --workingdir /opt --entrypoint '["cat"]' --cmd /etc/built $c
buildah config --env C- "$c"
test "$(buildah inspect --format '{{{{.OCIv1.Config.Env}}}}' $c)" = '[A=b]'
! buildah run $c false
buildah commit -q --rm "$c" script:1
""",
    )
    assert done.returncode == 0, done.stderr
    assert w.ok("run", "--rm", "--network", "none", "script:1") == "built"
    config = json.loads(w.ok("inspect", "script:1"))[0]
    assert config["Author"] == "me" and config["Config"]["Labels"] == {"x": "y"} and config["Config"]["Env"] == ["A=b"]
    assert config["Config"]["Entrypoint"] == ["cat"] and config["Config"]["ExposedPorts"] == {"80/tcp": {}}
    look = "cat /opt/a /opt/sub/b /srv/a /srv/b; stat -c %u:%g:%a /opt/sub/b"
    seen = w.ok("run", "--rm", "--network", "none", "--entrypoint", "sh", "script:1", "-c", look)
    assert seen == ("onetwoonetwo0:0:640" if w.single_id else "onetwoonetwo5:6:640")
    assert w.ok("buildah", "containers", "-q") == ""
    assert w.check() == ""
    w.ok("rmi", "script:1")


def test_working_containers_are_nobody_elses(b: Wherry) -> None:
    w = b
    assert w.ok("buildah", "from", "--name", "mine", "busybox") == "mine"
    assert w.ok("buildah", "from", "scratch") == "working-container"
    assert w.ok("buildah", "from", "busybox") == "busybox-working-container"
    assert w.ok("buildah", "from", "busybox") == "busybox-working-container-1"
    assert w.ok("ps", "-aq") == "" and "Total" in w.ok("container", "prune", "-f")
    names = [line.split()[-1] for line in w.ok("buildah", "containers").splitlines()[1:]]
    assert names == ["mine", "working-container", "busybox-working-container", "busybox-working-container-1"]
    w.ok("buildah", "rename", "mine", "yours")
    ids = {one["containername"]: one["id"] for one in json.loads(w.ok("buildah", "containers", "--json"))}
    assert w.ok("buildah", "rm", "yours") == ids["yours"]
    done = w("buildah", "rm", "yours")
    assert done.returncode == 125 and "container not known: yours" in done.stderr
    w.ok("create", "--network", "none", "--name", "other", "busybox")
    assert "container not known: other" in w("buildah", "run", "other", "true").stderr
    assert w("buildah", "from", "--pull-never", "nothing-of-that-name").returncode != 0


def test_files_of_a_working_container_survive_its_commands(b: Wherry) -> None:
    w = b
    w.ok("buildah", "from", "--name", "kept", "busybox")
    assert w.ok("buildah", "run", "kept", "sh", "-c", "echo first > /one") == ""
    assert w("buildah", "run", "kept", "sh", "-c", "exit 7").returncode == 7
    assert (
        w.ok("buildah", "run", "-e", "A=b", "--user", "0", "--workingdir", "/tmp", "kept", "sh", "-c", "cat /one; echo $A; pwd")
        == "first\nb\n/tmp"
    )
    w.ok("buildah", "commit", "--timestamp", "5", "kept", "kept:1")
    w.ok("buildah", "run", "kept", "rm", "/one")
    w.ok("buildah", "commit", "--squash", "kept", "kept:2")
    assert w.ok("inspect", "-f", "{{.Created}}", "kept:1") == "1970-01-01T00:00:05Z"
    assert w.ok("inspect", "-f", "{{len .RootFS.Layers}}", "kept:2") == "1"
    assert w.ok("run", "--rm", "--network", "none", "kept:1", "cat", "/one") == "first"
    assert w("run", "--rm", "--network", "none", "kept:2", "cat", "/one").returncode == 1
    w.ok("rmi", "kept:1", "kept:2")


MOUNTED = """
c=$(buildah from scratch)
m=$(buildah mount "$c")
test -n "$m"
mkdir "$m/bin"
cp %s "$m/bin/sh"
echo hello > "$m/file"
test "$(buildah run "$c" /bin/sh -c 'read x < /file; echo $x')" = hello
test -e "$m/file"
buildah umount "$c" > /dev/null
buildah config --cmd '/bin/sh -c "echo mounted"' "$c"
buildah commit -q "$c" mounted:1
buildah rm "$c"
"""


def test_mount_in_the_host_for_root_and_inside_unshare_for_users(b: Wherry, rootfs: Path) -> None:
    w = b
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no static busybox on this machine")
    if w.is_root:
        done = script(w, MOUNTED % busybox)
    else:
        w.ok("buildah", "from", "--name", "outside", "busybox")
        refused = w("buildah", "mount", "outside")
        assert refused.returncode == 125 and "wherry unshare" in refused.stderr
        done = script(w, MOUNTED % busybox, *w.words("unshare"))
    assert done.returncode == 0, done.stderr
    assert w.ok("run", "--rm", "--network", "none", "mounted:1") == "mounted"
    assert w.check() == ""
    w.ok("rmi", "mounted:1")


def test_unshare_is_root_of_the_users_own(w: Wherry) -> None:
    if w.is_root:
        done = w("unshare", "true")
        assert done.returncode == 1 and "rootless" in done.stderr
        return
    assert w.ok("unshare", "id", "-u") == "0"
    assert w.ok("unshare", "sh", "-c", "exit 0") == ""
    assert w("unshare", "sh", "-c", "exit 5").returncode == 5


def test_globals_before_the_verb(w_user: Wherry) -> None:
    root = w_user.folder("other") / "store"
    words = ["--root", str(root), "--runroot", str(w_user.runroot), "--storage-driver", "overlay", "--registries-conf", "/dev/null"]
    assert w_user.ok("buildah", *words, "images", "-q") == ""
    assert root.exists()
    done = w_user("buildah", "--nonsense", "images")
    assert done.returncode != 0 and "unknown flag: --nonsense" in done.stderr
