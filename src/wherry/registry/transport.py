"""HTTP to one registry: TLS or plain, proxies, redirects, retries. urllib3 does the wire; what may be trusted is decided here.

A redirect never takes the Authorization header to another origin. Bodies are bounded, slow ones given up.
"""

from __future__ import annotations

import time

from wherry.errors import HostError, RegistryError
from wherry.model.record import Record
from wherry.registry import proxy, tls
from wherry.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from wherry.registry.endpoints import Endpoint

CONNECT_S = 15.0
READ_S = 60.0
REDIRECTS = 5
AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))
# A registry may ask for patience; nobody waits longer than this for it.
_PATIENCE_S = 60.0


class Options(Record):
    """How to talk: `retries` after the first try, `retry_delay_s` before the first of them (it doubles), certificates of a folder."""

    retries: int = 5
    retry_delay_s: float = 0.5
    cert_dir: str = ""


class Answer:
    """A response whose body is still to be read. Use it as a context manager: it gives its connection back."""

    def __init__(self, response: Any, url: str) -> None:
        self._response = response
        self.status: int = response.status
        self.headers: Any = response.headers
        self.url = url

    def read(self, size: int) -> bytes:
        """Up to `size` bytes as they come over the line; b"" at the end. Raises Broken."""
        try:
            data: bytes = self._response.read1(size) if size else b""
            return data
        except Exception as error:
            raise _broken(error, self.url) from error

    def whole(self, limit: int, deadline_s: float = 120.0) -> bytes:
        """The body, which must not be longer than `limit` bytes nor take longer than the deadline. Raises RegistryError, Broken."""
        data = bytearray()
        end = time.monotonic() + deadline_s
        while part := self.read(1 << 16):
            data += part
            if len(data) > limit:
                self._response.close()
                raise RegistryError(f"{self.url}: the answer is larger than {limit} bytes")
            if time.monotonic() > end:
                self._response.close()
                raise RegistryError(f"{self.url}: the answer takes longer than {deadline_s:.0f} s")
        return bytes(data)

    def drop(self) -> None:
        """Leave the body unread."""
        try:
            self._response.close()
        except Exception:
            # What is being thrown away may be broken already.
            return

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_error: object) -> None:
        """A connection whose answer is read is kept; a little that is left is read for that, a lot costs the connection."""
        try:
            for _ in range(4):
                if not self._response.read1(1 << 14):
                    self._response.release_conn()
                    return
        except Exception:
            pass
        self.drop()


class Broken(RegistryError):
    """The line broke: worth another try."""

    id = "registry-line"
    # Seconds that the registry asks us to wait, -1 when it doesn't.
    wait_s = -1.0


class Transport:
    """Connections to one endpoint's host and to where it redirects. Safe for several threads."""

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        self.endpoint = endpoint
        self.options = options
        self._managers: dict[tuple[str, str, bool], Any] = {}
        # "https" or "http", known after the first answer.
        self.scheme = "http" if endpoint.plain else ""

    def close(self) -> None:
        """Give up the connections that are kept for another request."""
        for manager in self._managers.values():
            manager.clear()

    def url(self, path: str) -> str:
        """A path of the registry ("/v2/…") as a URL. Finds out first whether the registry speaks TLS."""
        return f"{self.scheme or self._find_scheme()}://{self.endpoint.host}{path}"

    def _find_scheme(self) -> str:
        """https; for an insecure registry that doesn't answer there, http, as docker does."""
        try:
            self._try("GET", f"https://{self.endpoint.host}/v2/", {}, None).__exit__()
            self.scheme = "https"
        except RegistryError:
            if not self.endpoint.insecure:
                raise
            try:
                self._try("GET", f"http://{self.endpoint.host}/v2/", {}, None).__exit__()
            except RegistryError as error:
                raise error from None
            self.scheme = "http"
        return self.scheme

    def request(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: Any = None, *, retry: bool = True, follow: bool = True
    ) -> Answer:
        """One request, redirects followed (GET and HEAD), tried again where that may help. Raises RegistryError."""
        attempt = 0
        while True:
            wait_s = -1.0
            try:
                answer = self._follow(method, url, headers or {}, body) if follow else self._try(method, url, headers or {}, body)
                if answer.status not in AGAIN or not retry or attempt >= self.options.retries:
                    return answer
                wait_s = retry_after(answer.headers.get("Retry-After", ""))
                answer.__exit__()
            except Broken:
                if not retry or attempt >= self.options.retries:
                    raise
            self.pause(attempt, wait_s)
            attempt += 1

    def pause(self, attempt: int, wait_s: float = -1.0) -> None:
        """Wait before another try: what the registry asked for, else a delay that doubles."""
        if wait_s < 0:
            wait_s = self.options.retry_delay_s * 2.0 ** min(attempt, 6)
        time.sleep(min(wait_s, _PATIENCE_S))

    def _follow(self, method: str, url: str, headers: dict[str, str], body: Any) -> Answer:
        for _ in range(REDIRECTS + 1):
            answer = self._try(method, url, headers, body)
            place = answer.headers.get("Location", "")
            if answer.status not in (301, 302, 303, 307, 308) or not place or method not in ("GET", "HEAD"):
                return answer
            answer.__exit__()
            target = joined(url, place)
            if origin(target) != origin(url):
                headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
                if url.startswith("https:") and target.startswith("http:") and not self.endpoint.insecure:
                    raise RegistryError(f"{url}: the registry redirects to plain HTTP: {target}")
            url = target
        raise RegistryError(f"{url}: the registry redirects more than {REDIRECTS} times")

    def _try(self, method: str, url: str, headers: dict[str, str], body: Any) -> Answer:
        urllib3 = _urllib3()
        scheme, host = origin(url)
        if scheme not in ("http", "https"):
            raise RegistryError(f"{url}: the registry points to what is neither http nor https")
        manager = self._manager(scheme, host)
        timeout = urllib3.Timeout(connect=CONNECT_S, read=READ_S)
        sent = {"User-Agent": f"wherry/{VERSION}", "Accept-Encoding": "identity", **headers}
        try:
            response = manager.request(
                method,
                url,
                body=body,
                headers=sent,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise _broken(error, url, method) from error
        return Answer(response, url)

    def _manager(self, scheme: str, host: str) -> Any:
        urllib3 = _urllib3()
        # Only the registry itself is excused from a right certificate, not where it sends us.
        insecure = self.endpoint.insecure and host.partition(":")[0] == self.endpoint.host.partition(":")[0]
        through = proxy.proxy_for(scheme, host)
        key = (host if scheme == "https" else "", through, insecure)
        found = self._managers.get(key)
        if found is None:
            words: dict[str, Any] = {"num_pools": 8, "maxsize": 16, "block": False}
            if scheme == "https":
                own = self.options.cert_dir if host == self.endpoint.host else ""
                words["ssl_context"] = tls.context(host, insecure=insecure, cert_dir=own)
                if insecure:
                    words["assert_hostname"] = False
            found = _proxied(urllib3, through, words) if through else urllib3.PoolManager(**words)
            self._managers[key] = found
        return found


def _proxied(urllib3: Any, url: str, words: dict[str, Any]) -> Any:
    parsed = urllib3.util.parse_url(url)
    headers = urllib3.make_headers(proxy_basic_auth=parsed.auth) if parsed.auth else None
    plain = url if not parsed.auth else url.replace(parsed.auth + "@", "", 1)
    return urllib3.ProxyManager(plain, proxy_headers=headers, **words)


def _urllib3() -> Any:
    try:
        import urllib3
        import urllib3.exceptions
    except ImportError as error:
        raise HostError(f"talking to registries needs the Python package urllib3: {error}", hint="pip install urllib3") from error
    if not _quiet:
        urllib3.disable_warnings()
        _quiet.append(True)
    return urllib3


_quiet: list[bool] = []


def _broken(error: Exception, url: str, method: str = "Get") -> RegistryError:
    """A failure on the line, in Go's form (scripts look for "connection refused", "no such host", "x509")."""
    cause: BaseException = error
    while (inner := cause.__cause__ or getattr(cause, "reason", None)) and isinstance(inner, BaseException):
        cause = inner
    text = str(cause) or type(cause).__name__
    name = type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.partition("CERTIFICATE_VERIFY_FAILED] ")[2].partition(" (_ssl")[0] or text
        return RegistryError(
            f'{method.capitalize()} "{url}": tls: failed to verify certificate: x509: {why}',
            hint="put its authority into /etc/docker/certs.d/HOST/ca.crt, or say --tls-verify=false",
        )
    if "Connection refused" in text:
        why = "dial tcp: connect: connection refused"
    elif "NameResolution" in name or "Name or service not known" in text or "name resolution" in text:
        why = f"dial tcp: lookup {origin(url)[1]}: no such host"
    elif "Timeout" in name or "timed out" in text:
        why = "i/o timeout: the registry doesn't answer"
    else:
        why = text
    return Broken(f'{method.capitalize()} "{url}": {why}')


def retry_after(text: str) -> float:
    """Seconds, or a date; -1 for neither."""
    if text.strip().isdigit():
        return float(text)
    if text:
        import email.utils

        try:
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, TypeError):
            return -1.0
    return -1.0


def origin(url: str) -> tuple[str, str]:
    """(scheme, host with its port) of a URL."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
    return scheme.lower(), host.lower()


def joined(base: str, place: str) -> str:
    """A Location header as a whole URL."""
    from urllib.parse import urljoin

    return urljoin(base, place)


def with_query(url: str, pairs: Iterable[tuple[str, str]]) -> str:
    from urllib.parse import urlencode

    return url + ("&" if "?" in url else "?") + urlencode(list(pairs))
