"""The installed command and Debian's docker-registry: TLS, passwords, and other tools as judges of what we push."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import Wherry

# bcrypt of "open sesame"
HTPASSWD = "me:$2b$04$wArNfrbb8XIuCSeGKl0pD.W.i.sAUqQRNqgeaH6FFriEU2SCfJZKO\n"


class Server:
    def __init__(self, folder: Path, *, tls: bool = False, password: bool = False) -> None:
        program = shutil.which("docker-registry")
        if program is None:
            pytest.skip("docker-registry is not installed (Debian: package docker-registry)")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.host = f"localhost:{port}"
        self.folder = folder
        folder.mkdir()
        lines = ["version: 0.1", "log: {level: error}", f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}"]
        lines += ["http:", f"  addr: 127.0.0.1:{port}"]
        if tls:
            make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
            make += ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/ca.crt", "-subj", "/CN=localhost"]
            subprocess.run([*make, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
            lines += [f"  tls: {{certificate: {folder}/ca.crt, key: {folder}/key.pem}}"]
        if password:
            (folder / "htpasswd").write_text(HTPASSWD)
            lines += [f"auth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}"]
        (folder / "config.yml").write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if time.monotonic() > end:
                    self.close()
                    pytest.fail("docker-registry does not start")
                time.sleep(0.05)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "registry")
    yield found
    found.close()


def test_there_and_back(w: Wherry, server: Server) -> None:
    name = f"{server.host}/team/busybox:1"
    w.ok("tag", "busybox", name)
    image = w.ok("inspect", "-f", "{{.Id}}", name)
    out = w.ok("push", name)
    assert out.splitlines()[0] == f"The push refers to repository [{server.host}/team/busybox]" and ": Pushed" in out
    w.ok("rmi", name)
    out = w.ok("pull", name)
    assert out.splitlines()[-1] == name and "Status: Downloaded newer image" in out
    assert w.ok("inspect", "-f", "{{.Id}}", name) == image
    assert "Image is up to date" in w.ok("pull", name)
    assert w.ok("pull", "-q", name) == name
    assert w.ok("run", "--rm", name, "echo", "hello") == "hello"
    w.ok("rmi", name)
    assert w.check() == ""


def test_password(w_root: Wherry, tmp_path: Path) -> None:
    server = Server(tmp_path / "registry", password=True)
    env = {"DOCKER_CONFIG": str(tmp_path / "docker")}
    name = f"{server.host}/busybox:1"
    try:
        w_root.ok("tag", "busybox", name)
        done = w_root("push", name, env=env)
        assert done.returncode == 1 and "no basic auth credentials" in done.stderr or "authentication required" in done.stderr
        done = w_root("login", "-u", "me", "--password-stdin", server.host, input="wrong\n", env=env)
        assert done.returncode == 1 and "unauthorized" in done.stderr
        done = w_root("login", "-u", "me", "--password-stdin", server.host, input="open sesame\n", env=env)
        assert done.returncode == 0 and done.stdout == "Login Succeeded\n"
        assert (tmp_path / "docker/config.json").stat().st_mode & 0o777 == 0o600
        assert w_root("push", name, env=env).returncode == 0
        assert w_root("logout", server.host, env=env).stdout == f"Removing login credentials for {server.host}\n"
        assert w_root("pull", name, env=env).returncode == 1
        assert w_root("pull", "--creds", "me:open sesame", name, env=env).returncode == 0
    finally:
        w_root.ok("rmi", name)
        server.close()


def test_tls(w_root: Wherry, tmp_path: Path) -> None:
    server = Server(tmp_path / "registry", tls=True)
    name = f"{server.host}/busybox:1"
    certificates = tmp_path / "certs"
    certificates.mkdir()
    shutil.copy(server.folder / "ca.crt", certificates)
    try:
        w_root.ok("tag", "busybox", name)
        done = w_root("push", "--tls-verify=true", name)
        assert done.returncode == 1 and "x509" in done.stderr and "certs.d" in done.stderr
        w_root.ok("push", "--tls-verify=true", "--cert-dir", str(certificates), name)
        w_root.ok("pull", name)  # a loopback address: docker doesn't insist there
    finally:
        w_root.ok("rmi", name)
        server.close()


def test_other_tools_read_what_we_push(w_root: Wherry, server: Server, tmp_path: Path) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    name = f"{server.host}/busybox:1"
    w_root.ok("tag", "busybox", name)
    image = w_root.ok("inspect", "-f", "{{.Id}}", name).removeprefix("sha256:")
    for form in ("oci", "v2s2"):
        w_root.ok("push", "--format", form, "--compression-format", "gzip", name)
        target = tmp_path / form
        subprocess.run([skopeo, "copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{target}"], check=True, capture_output=True)
        assert (target / image).exists()
    w_root.ok("rmi", name)


def test_run_fetches_what_is_missing(w_root: Wherry, server: Server) -> None:
    name = f"{server.host}/team/busybox:1"
    w_root.ok("tag", "busybox", name)
    w_root.ok("push", name)
    w_root.ok("rmi", name)
    assert w_root("run", "--rm", "--pull", "never", name, "true").returncode == 125
    done = w_root("run", "--rm", name, "echo", "hello")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert done.stderr.splitlines()[0] == f"Unable to find image '{name}' locally"
    assert done.stderr.splitlines()[-1] == f"Status: Downloaded newer image for {name}"
    assert w_root("run", "--rm", name, "true").stderr == ""
    assert "Image is up to date" in w_root("run", "--rm", "--pull", "always", name, "true").stderr
    assert w_root("run", "--rm", "--pull", "always", "-q", name, "true").stderr == ""
    done = w_root("run", "--rm", f"{server.host}/nope", "true")
    assert done.returncode == 125 and "not found" in done.stderr
    w_root.ok("rmi", name)
