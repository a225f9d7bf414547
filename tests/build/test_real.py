"""Builds as people do them: packages installed on a Debian base, a virtual environment carried to a small image. Long: in a soak only.

The base is made with debootstrap, or taken from the archive that WHERRY_DEBIAN names; its archive's mirror must be reachable.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from support import place
from support.engine import Wherry

DOCKERFILE = """
FROM debian:test AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv nginx
RUN useradd -m -u 1234 app && install -o app -g app -d /srv/own && echo hi > /srv/own/x && chown 33:app /srv/own/x
RUN cp /bin/true /srv/setuid && chmod 4755 /srv/setuid
COPY hello-1-py3-none-any.whl /tmp/
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-index /tmp/hello-1-py3-none-any.whl
FROM debian:test
RUN apt-get update && apt-get install -y --no-install-recommends python3
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv /srv
COPY --chown=1234:33 hello-1-py3-none-any.whl /srv/copied
WORKDIR /srv
CMD ["/opt/venv/bin/python", "-c", "import hello; print(hello.WORD)"]
"""


@pytest.fixture(scope="module")
def debian(reachable: Path) -> Path:
    if not place.SOAK:
        pytest.skip("it takes minutes: it runs with WHERRY_SOAK")
    if os.environ.get("WHERRY_DEBIAN"):
        path = reachable / "debian.tar"
        shutil.copy(os.environ["WHERRY_DEBIAN"], path)
    else:
        if shutil.which("debootstrap") is None or os.geteuid():
            pytest.skip("debootstrap makes the base image, as root")
        path = reachable / "debian.tar"
        words = ["debootstrap", "--variant=minbase", "bookworm", str(reachable / "debian")]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"debootstrap failed: {done.stdout[-300:]}")
        subprocess.run(["tar", "-C", str(reachable / "debian"), "-cf", str(path), "."], check=True)
        shutil.rmtree(reachable / "debian")
    path.chmod(0o644)
    return path


def wheel(folder: Path) -> None:
    """A package that pip installs without an index."""
    with zipfile.ZipFile(folder / "hello-1-py3-none-any.whl", "w") as file:
        file.writestr("hello.py", "WORD = 'served'\n")
        file.writestr("hello-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: hello\nVersion: 1\n")
        file.writestr("hello-1.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("hello-1.dist-info/RECORD", "")


def test_packages_users_and_a_virtual_environment(w: Wherry, debian: Path) -> None:
    w.ok("import", debian, "debian:test")
    folder = w.folder("real")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    wheel(folder)
    subprocess.run(["chown", "-R", f"{w.user.uid}:{w.user.gid}", str(folder)], check=True)
    done = w("build", "-t", "real", folder, timeout=600)
    assert done.returncode == 0, f"{w.label}: {done.stderr[-3000:]}"
    assert w.ok("run", "--rm", "--network", "none", "real") == "served"
    owners = w.ok(
        "run", "--rm", "--network", "none", "real", "stat", "-c", "%u:%g %a %n", "/srv/own", "/srv/own/x", "/srv/setuid", "/srv/copied"
    )
    if w.label == "nosubids":
        # One id is all there is here; what COPY says of owners is kept for a push, the mode always.
        assert "4755 /srv/setuid" in owners
    else:
        assert owners.splitlines() == [
            "1234:1234 755 /srv/own",
            "33:1234 644 /srv/own/x",
            "0:0 4755 /srv/setuid",
            "1234:33 644 /srv/copied",
        ]


def test_a_server_that_was_installed_serves(w_root: Wherry, debian: Path) -> None:
    w_root.ok("import", debian, "debian:test")
    folder = w_root.folder("served")
    (folder / "Dockerfile").write_text(
        "FROM debian:test\nRUN apt-get update && apt-get install -y --no-install-recommends nginx\n"
        "COPY <<EOF /var/www/html/index.html\nit serves\nEOF\n"
        'CMD ["nginx", "-g", "daemon off;"]\n'
    )
    done = w_root("build", "-t", "served", folder, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    name = w_root.ok("run", "-d", "--network", "none", "served")
    try:
        fetch = 'for i in 1 2 3 4 5 6 7 8 9; do sleep 0.3; exec 3<>/dev/tcp/127.0.0.1/80 && break; done; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3'
        assert "it serves" in w_root.ok("exec", name, "bash", "-c", fetch)
    finally:
        w_root("rm", "-f", name)
