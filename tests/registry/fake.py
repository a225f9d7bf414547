"""A registry for the tests, in threads of the test's process: it serves, counts, asks for credentials, and misbehaves on demand."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import io
import json
import socket
import struct
import tarfile
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(files: dict[str, bytes]) -> bytes:
    """An uncompressed tar with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


class FakeRegistry:
    """`blobs` and `manifests` may be changed by the test. `hook(handler)` is called for each request first: True ends it there."""

    def __init__(self, tokens: FakeRegistry | None = None) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[bytes, str]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.blob_bytes = 0
        self.ranges = True
        self.hook: Callable[[Any], bool] | None = None
        self.basic = ""
        self.realm = ""
        self.token = "a-token"
        self.lock = threading.Lock()
        owner = self

        class Handler(_Handler):
            registry = owner

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def add_blob(self, name: str, data: bytes) -> str:
        self.blobs[name, digest_of(data)] = data
        return digest_of(data)

    def add_image(
        self, name: str, tag: str, layers: list[bytes], *, architecture: str = "amd64", variant: str = "", compress: bool = True
    ) -> str:
        """Put an image of these tars in; returns the digest of its manifest."""
        document = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/x"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in layers]},
        }
        if variant:
            document["variant"] = variant
        config = json.dumps(document).encode()
        blobs = [gzip.compress(tar, 1, mtime=0) if compress else tar for tar in layers]
        self.add_blob(name, config)
        kind = "application/vnd.docker.image.rootfs.diff.tar" + (".gzip" if compress else "")
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": kind, "digest": self.add_blob(name, blob), "size": len(blob)} for blob in blobs],
        }
        return self.add_manifest(name, tag, manifest, DOCKER_MANIFEST)

    def add_manifest(self, name: str, tag: str, manifest: Any, media_type: str) -> str:
        data = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        self.manifests[name, tag] = self.manifests[name, digest_of(data)] = (data, media_type)
        return digest_of(data)

    def paths(self, method: str) -> list[str]:
        return [path for m, path, _headers in self.requests if m == method]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        return  # clients that hang up are part of the tests


class _Handler(http.server.BaseHTTPRequestHandler):
    registry: FakeRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: Any) -> None:
        return

    def handle_method(self) -> None:
        registry = self.registry
        with registry.lock:
            registry.requests.append((self.command, self.path, dict(self.headers.items())))
        if registry.hook is not None and registry.hook(self):
            return
        parts = urllib.parse.urlsplit(self.path)
        query = {k: v[0] for k, v in urllib.parse.parse_qs(parts.query).items()}
        if parts.path == "/token":
            self.give_token(query)
        elif not self.let_in():
            return
        elif parts.path in ("/v2/", "/v2"):
            self.answer(200, b"{}")
        elif "/manifests/" in parts.path:
            self.manifest(*parts.path.removeprefix("/v2/").split("/manifests/"))
        elif "/blobs/uploads/" in parts.path:
            self.upload(*parts.path.removeprefix("/v2/").split("/blobs/uploads/"), query)
        elif "/blobs/" in parts.path:
            self.blob(*parts.path.removeprefix("/v2/").split("/blobs/"))
        elif parts.path.endswith("/tags/list"):
            name = parts.path.removeprefix("/v2/").removesuffix("/tags/list")
            self.answer(
                200, json.dumps({"name": name, "tags": sorted(t for n, t in registry.manifests if n == name and ":" not in t)}).encode()
            )
        else:
            self.fail(404, "NOT_FOUND", "nothing here")

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_method

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def fail(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), headers)

    def let_in(self) -> bool:
        registry = self.registry
        sent = self.headers.get("Authorization", "")
        if registry.realm:
            if sent == "Bearer " + registry.token:
                return True
            challenge = f'Bearer realm="{registry.realm}",service="the service",scope="repository:x:pull"'
        elif registry.basic:
            if sent == "Basic " + base64.b64encode(registry.basic.encode()).decode():
                return True
            challenge = 'Basic realm="the realm"'
        else:
            return True
        self.close_connection = True
        self.fail(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
        return False

    def give_token(self, _query: dict[str, str]) -> None:
        wanted = "Basic " + base64.b64encode(self.registry.basic.encode()).decode()
        if self.registry.basic and self.headers.get("Authorization", "") != wanted:
            self.fail(401, "UNAUTHORIZED", "incorrect username or password")
        else:
            self.answer(200, json.dumps({"token": self.registry.token, "expires_in": 300}).encode())

    def manifest(self, name: str, reference: str) -> None:
        registry = self.registry
        if self.command == "PUT":
            digest = registry.add_manifest(name, reference, self.body(), self.headers["Content-Type"])
            self.answer(201, b"", {"Docker-Content-Digest": digest, "Location": f"/v2/{name}/manifests/{digest}"})
        elif (name, reference) not in registry.manifests:
            self.fail(404, "MANIFEST_UNKNOWN", "manifest unknown")
        else:
            data, media_type = registry.manifests[name, reference]
            self.answer(200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(data)})

    def blob(self, name: str, digest: str) -> None:
        registry = self.registry
        data = registry.blobs.get((name, digest))
        if data is None:
            self.fail(404, "BLOB_UNKNOWN", "blob unknown to registry")
            return
        start = 0
        wanted = self.headers.get("Range", "")
        if registry.ranges and wanted.startswith("bytes="):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        if self.command != "HEAD":
            with registry.lock:
                registry.blob_bytes += len(data) - start
        self.answer(206 if start else 200, data[start:], headers)

    def upload(self, name: str, place: str, query: dict[str, str]) -> None:
        registry = self.registry
        if self.command == "POST":
            if "mount" in query and (query["from"], query["mount"]) in registry.blobs:
                registry.blobs[name, query["mount"]] = registry.blobs[query["from"], query["mount"]]
                self.answer(201)
                return
            place = str(len(registry.uploads))
            registry.uploads[place] = bytearray()
            self.answer(202, b"", {"Location": f"/v2/{name}/blobs/uploads/{place}"})
            return
        data = registry.uploads[place]
        here = f"/v2/{name}/blobs/uploads/{place}"
        if self.command == "PATCH":
            left = int(self.headers.get("Content-Length") or 0)
            while left:
                part = self.rfile.read1(min(left, 1 << 16))
                if not part:
                    return
                data += part
                left -= len(part)
            self.answer(202, b"", {"Location": here, "Range": f"0-{max(0, len(data) - 1)}"})
        elif self.command == "GET":
            self.answer(204, b"", {"Location": here, "Range": f"0-{max(0, len(data) - 1)}"})
        else:
            data += self.body()
            if digest_of(bytes(data)) != query["digest"]:
                self.fail(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
                return
            registry.blobs[name, query["digest"]] = bytes(data)
            self.answer(201, b"", {"Docker-Content-Digest": query["digest"]})


class Cutting:
    """A TCP proxy in front of a registry: it lets `bytes` of answers through on each connection, then resets it; slow if told so."""

    def __init__(self, target: str, allowed: int, *, pause_s: float = 0.0, times: int = 1 << 30, upward: bool = False) -> None:
        self._target = target
        self._allowed, self._pause_s, self._times, self._upward = allowed, pause_s, times, upward
        self.cuts = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for side in list(self._open):
            _wake(side)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        threads = []
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                break
            threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve(self, client: socket.socket) -> None:
        host, port = self._target.split(":")
        server = socket.create_connection((host, int(port)))
        self._open += [client, server]
        up = threading.Thread(target=self._copy, args=(client, server, self._upward), daemon=True)
        up.start()
        self._copy(server, client, not self._upward)
        up.join()
        for side in (client, server):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            side.close()

    def _copy(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        """One direction. However it ends, both ends are woken up; a cut is a reset, as their owner closes them with data unread."""
        left = self._allowed
        try:
            while data := source.recv(16384):
                if counted and self.cuts < self._times and len(data) >= left:
                    target.sendall(data[:left])
                    self.cuts += 1
                    time.sleep(0.05)
                    break
                if counted:
                    left -= len(data)
                    if self._pause_s:
                        time.sleep(self._pause_s)
                target.sendall(data)
        except OSError:
            pass
        _wake(source)
        _wake(target)


def _wake(side: socket.socket) -> None:
    try:
        side.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
