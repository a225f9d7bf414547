"""A small S3 server on loopback, in this process: path-style buckets in memory, and every way of failing that a test asks for."""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

ACCESS, SECRET = "AKIATESTTESTTEST", "secret-of-the-tests"


class Server:
    """`objects`: (bucket, key) → (bytes, headers). `failing`: so many requests are answered 503; `cut`: bodies come cut short."""

    def __init__(self) -> None:
        self.buckets = {"bucket"}
        self.objects: dict[tuple[str, str], tuple[bytes, dict[str, str]]] = {}
        self.failing = 0
        self.cut = False
        self.slow_s = 0.0
        self.asked: list[str] = []
        self._port = 0
        self._http: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def env(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}

    def start(self) -> None:
        outer = self

        class Handler(_Handler):
            server_state = outer

        self._http = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._http.daemon_threads = True
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def put(self, key: str, data: bytes) -> None:
        self.objects["bucket", key] = (data, {})

    def files(self) -> dict[str, bytes]:
        return {key: data for (_bucket, key), (data, _headers) in self.objects.items()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: Server

    def log_message(self, *_words: object) -> None:
        return

    def _parts(self) -> tuple[str, str, dict[str, str]]:
        url = urllib.parse.urlsplit(self.path)
        bucket, _, key = urllib.parse.unquote(url.path).lstrip("/").partition("/")
        return bucket, key, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        # A server that is stopped must not go on answering on connections that it has.
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        if self.server_state.cut and self.command == "GET" and headers and "ETag" in headers:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code} it is</Message></Error>".encode())

    def _refused(self) -> bool:
        state = self.server_state
        body = int(self.headers.get("Content-Length") or 0)
        self._body = self.rfile.read(body)
        state.asked.append(f"{self.command} {self.path}")
        time.sleep(state.slow_s)
        if state.failing:
            state.failing -= 1
            self._error(503, "SlowDown")
        elif f"Credential={ACCESS}/" not in self.headers.get("Authorization", ""):
            self._error(403, "InvalidAccessKeyId")
        elif hashlib.sha256(self._body).hexdigest() != self.headers.get("x-amz-content-sha256"):
            self._error(400, "XAmzContentSHA256Mismatch")
        elif self._parts()[0] not in state.buckets:
            self._error(404, "NoSuchBucket")
        else:
            return False
        return True

    def do_GET(self) -> None:
        if self._refused():
            return
        bucket, key, query = self._parts()
        if not key:
            self._list(bucket, query)
            return
        found = self.server_state.objects.get((bucket, key))
        if found is None:
            self._error(404, "NoSuchKey")
            return
        self._answer(200, found[0], {"ETag": f'"{hashlib.md5(found[0]).hexdigest()}"', **found[1]})

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        most = int(query.get("max-keys", "1000"))
        after = query.get("continuation-token", "")
        keys = sorted(k for b, k in self.server_state.objects if b == bucket and k.startswith(query.get("prefix", "")) and k > after)
        shown = keys[: min(most, 3)]  # three a page: paging is tried by every test
        more = len(keys) > len(shown) and most > 1
        body = "".join(
            f"<Contents><Key>{escape(k)}</Key><Size>{len(self.server_state.objects[bucket, k][0])}</Size>"
            f"<ETag>&quot;{hashlib.md5(self.server_state.objects[bucket, k][0]).hexdigest()}&quot;</ETag></Contents>"
            for k in shown
        )
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        self._answer(200, f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{body}</ListBucketResult>".encode())

    def do_PUT(self) -> None:
        if self._refused():
            return
        bucket, key, _query = self._parts()
        kept = {name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")}
        self.server_state.objects[bucket, key] = (self._body, kept)
        self._answer(200, b"", {"ETag": f'"{hashlib.md5(self._body).hexdigest()}"'})

    def do_DELETE(self) -> None:
        if self._refused():
            return
        bucket, key, _query = self._parts()
        self.server_state.objects.pop((bucket, key), None)
        self._answer(204)
