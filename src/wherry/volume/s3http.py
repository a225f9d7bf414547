"""S3 over HTTP, as much as volumes need: look at a bucket, list, get, put, delete. Requests are signed by AWS's Signature Version 4
(docs.aws.amazon.com, "Signature Version 4 for API requests"); buckets are named in the path, which every server takes.

Every request has a time limit, and is tried again where S3 says that it may be (500, 502, 503, 504, 429, a broken connection).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import re
import ssl
import time
import urllib.parse
from datetime import UTC, datetime

from wherry.errors import HostError, InvalidArgument, NotFound, WherryError
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

CONNECT_S, READ_S = 5.0, 15.0
_TRIES = 3
_RETRIED = (429, 500, 502, 503, 504)
CHUNK = 1 << 20
# Larger ones go up in parts: S3 takes 5 GiB at once, and a part that fails is cheap to send again.
PART_BYTES = 64 << 20


class Keys(Record):
    access: str
    secret: str
    token: str = ""


class Where(Record):
    """A bucket: `endpoint` is a URL, "" for AWS; `prefix` has no slash at its ends."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = "us-east-1"


class S3Object(Record):
    """`key` is relative to the prefix."""

    key: str
    size: int
    etag: str
    modified: str


class S3Error(WherryError):
    """`status` is HTTP's, 0 when the server could not be reached; `code` S3's own word."""

    id = "s3"

    def __init__(self, message: str, *, status: int = 0, code: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code


class Client:
    """One bucket of one server. Not for several threads."""

    def __init__(self, where: Where, keys: Keys, *, tries: int = _TRIES) -> None:
        self._where, self._keys, self._tries = where, keys, tries
        url = where.endpoint or f"https://s3.{where.region}.amazonaws.com"
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidArgument(f"endpoint {url} is no http or https URL")
        self._host = parts.netloc.rpartition("@")[2]
        self._secure, self._base = parts.scheme == "https", parts.path.rstrip("/")
        self._connection: http.client.HTTPConnection | None = None

    def check(self, *, write: bool) -> None:
        """Whether the bucket is there, and may be listed and, with `write`, written and deleted in. Raises NotFound, HostError, S3Error."""
        name = self._where.bucket
        try:
            self._page("", 1)
            if write:
                probe = f".wherry-probe-{os.urandom(6).hex()}"
                self.put_bytes(probe, b"")
                self.delete(probe)
        except S3Error as error:
            if error.code == "NoSuchBucket" or error.status == 404:
                raise NotFound(f"bucket {name} does not exist at {self._host}", hint="check its name; wherry never makes one") from error
            if error.status in (401, 403):
                raise HostError(
                    f"bucket {name} at {self._host}: {error.code or 'access denied'}: {error.message}",
                    hint="list, write and delete have to be allowed; keys come from -o secret=NAME, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                    "or ~/.aws/credentials (-o profile=NAME)",
                ) from error
            raise

    def _page(self, token: str, most: int) -> tuple[list[S3Object], str]:
        base = self._where.prefix + "/" if self._where.prefix else ""
        query = {"list-type": "2", "max-keys": str(most), "prefix": base}
        if token:
            query["continuation-token"] = token
        text = self._ask("GET", "", query=query)[1].decode()
        found = []
        for entry in re.findall(r"<Contents>(.*?)</Contents>", text, re.DOTALL):
            key = _field(entry, "Key")
            if key.startswith(base) and key != base:
                found.append(
                    S3Object(
                        key[len(base) :], int(_field(entry, "Size") or 0), _field(entry, "ETag").strip('"'), _field(entry, "LastModified")
                    )
                )
        more = _field(text, "NextContinuationToken") if _field(text, "IsTruncated") == "true" else ""
        return found, more

    def get(self, key: str, file: BinaryIO) -> dict[str, str]:
        """Write an object to `file`; its headers, in lower case. Raises S3Error, also for one that comes cut short."""
        for attempt in range(self._tries):
            file.seek(0)
            file.truncate()
            try:
                return self._get(key, file)
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                if attempt + 1 == self._tries:
                    raise self._unreachable(error) from error
                time.sleep(0.2 * 2**attempt)
        raise AssertionError

    def _get(self, key: str, file: BinaryIO) -> dict[str, str]:
        answer = self._send("GET", self._path(key), {}, _EMPTY, b"", {})
        if answer.status != 200:
            self._raise(answer.status, answer.read(), key)
        left = int(answer.headers.get("Content-Length") or -1)
        while data := answer.read(CHUNK):
            file.write(data)
            left -= len(data)
        if left > 0:
            raise http.client.IncompleteRead(b"", left)
        return {name.lower(): value for name, value in answer.headers.items()}

    def put_bytes(self, key: str, data: bytes, headers: dict[str, str] | None = None) -> str:
        """The ETag of the new object."""
        answer, _body = self._ask("PUT", key, body=data, headers=headers)
        return answer.get("etag", "").strip('"')

    def put(self, key: str, file: BinaryIO, size: int, headers: dict[str, str]) -> str:
        """Upload `size` bytes of a file: at once, or in parts. An upload that fails leaves nothing behind. Its ETag."""
        if size <= PART_BYTES:
            return self.put_bytes(key, file.read(size), headers)
        _headers, body = self._ask("POST", key, query={"uploads": ""}, headers=headers)
        upload = _field(body.decode(), "UploadId")
        try:
            tags = []
            for number in range(1, (size + PART_BYTES - 1) // PART_BYTES + 1):
                query = {"partNumber": str(number), "uploadId": upload}
                tags.append(self._ask("PUT", key, query=query, body=file.read(PART_BYTES))[0].get("etag", ""))
            parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for n, tag in enumerate(tags, 1))
            document = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
            _headers, body = self._ask("POST", key, query={"uploadId": upload}, body=document)
            return _field(body.decode(), "ETag").replace("&quot;", "").strip('"')
        except BaseException:
            try:
                self._ask("DELETE", key, query={"uploadId": upload})
            except S3Error:
                pass  # the server is away; its own rules tidy such uploads up
            raise

    def delete(self, key: str) -> None:
        self._ask("DELETE", key)

    def close(self) -> None:
        self._drop()

    # -- requests ------------------------------------------------------------------------------------------------------

    def _ask(
        self, method: str, key: str, *, query: dict[str, str] | None = None, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[dict[str, str], bytes]:
        digest = hashlib.sha256(body).hexdigest() if body else _EMPTY
        path = self._path(key)
        for attempt in range(self._tries):
            try:
                answer = self._send(method, path, query or {}, digest, body, headers or {})
                data = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                if attempt + 1 == self._tries:
                    raise self._unreachable(error) from error
            else:
                if answer.status not in _RETRIED or attempt + 1 == self._tries:
                    if answer.status // 100 != 2:
                        self._raise(answer.status, data, key)
                    return {name.lower(): value for name, value in answer.headers.items()}, data
            time.sleep(0.2 * 2**attempt)
        raise AssertionError

    def _path(self, key: str) -> str:
        whole = "/".join(p for p in (self._where.bucket, self._where.prefix if key else "", key) if p)
        return self._base + "/" + urllib.parse.quote(whole, safe="/-_.~")

    def _send(
        self, method: str, path: str, query: dict[str, str], digest: str, body: bytes, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        text = "&".join(f"{_quoted(k)}={_quoted(v)}" for k, v in sorted(query.items()))
        signed = self._signed(method, path, text, digest, headers)
        connection = self._connected()
        connection.request(method, path + ("?" + text if text else ""), body=body or None, headers=signed)
        return connection.getresponse()

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            if self._secure:
                context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
                self._connection = http.client.HTTPSConnection(self._host, timeout=CONNECT_S, context=context)
            else:
                self._connection = http.client.HTTPConnection(self._host, timeout=CONNECT_S)
            self._connection.connect()
            self._connection.sock.settimeout(READ_S)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _signed(self, method: str, path: str, query: str, digest: str, headers: dict[str, str]) -> dict[str, str]:
        now = datetime.now(UTC)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        found = {"host": self._host, "x-amz-content-sha256": digest, "x-amz-date": stamp, **{k.lower(): v for k, v in headers.items()}}
        if self._keys.token:
            found["x-amz-security-token"] = self._keys.token
        names = ";".join(sorted(found))
        lines = "".join(f"{name}:{found[name].strip()}\n" for name in sorted(found))
        scope = f"{day}/{self._where.region}/s3/aws4_request"
        request = "\n".join((method, path, query, lines, names, digest))
        text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
        key = ("AWS4" + self._keys.secret).encode()
        for part in (day, self._where.region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        found["authorization"] = f"AWS4-HMAC-SHA256 Credential={self._keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
        return found

    def _raise(self, status: int, body: bytes, key: str) -> None:
        text = body.decode("utf-8", "replace")
        code = _field(text, "Code")
        message = _field(text, "Message") or f"HTTP status {status}"
        raise S3Error(f"{key or self._where.bucket}: {message}", status=status, code=code)

    def _unreachable(self, error: Exception) -> S3Error:
        return S3Error(
            f"the S3 server {self._host} can't be reached: {error or type(error).__name__}", hint="check endpoint= and the network"
        )

    def list(self) -> Iterator[S3Object]:
        token = ""
        while True:
            objects, token = self._page(token, 1000)
            yield from objects
            if not token:
                return


_EMPTY = hashlib.sha256(b"").hexdigest()


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="-_.~")


def _field(text: str, name: str) -> str:
    found = re.search(f"<{name}>(.*?)</{name}>", text, re.DOTALL)
    if not found:
        return ""
    value = found.group(1)
    for entity, character in (
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", '"'),
        ("&#34;", '"'),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ):
        value = value.replace(entity, character)
    return value
