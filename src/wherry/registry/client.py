"""One repository of one registry: OCI distribution specification 1.1 and what docker's registries do of it."""

from __future__ import annotations

from wherry.errors import AccessDenied, NotFound, RegistryError, WherryError
from wherry.model import digest as digests
from wherry.model import jsontext
from wherry.registry import manifests
from wherry.registry.auth import Authenticator
from wherry.registry.credentials import Credentials, CredentialStore
from wherry.registry.transport import AGAIN, Answer, Broken, Options, Transport, joined, retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.registry.endpoints import Endpoint

_LIST_LIMIT = 16 << 20
_PAGES = 1000


class Missing(NotFound):
    """The registry does not have it."""


class Repository:
    """A repository to pull from, or with `push` to write to. Safe for several threads."""

    def __init__(
        self, endpoint: Endpoint, store: CredentialStore, options: Options, *, own: Credentials | None = None, push: bool = False
    ) -> None:
        self.endpoint = endpoint
        self.transport = Transport(endpoint, options)
        self._auth = Authenticator(self.transport, store, own)
        self._scope = f"repository:{endpoint.path}:{'pull,push' if push else 'pull'}"

    def request(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: Any = None, *, retry: bool = True, also: str = ""
    ) -> Answer:
        """A request with our credentials; a URL of another origin than the registry's gets none. `also`: a repository that it reads, too.

        Raises RegistryError, AccessDenied.
        """
        scope = f"{self._scope} repository:{also}:pull" if also else self._scope
        if url.startswith("/"):
            url = self.transport.url(url)
        ours = url.startswith(f"{self.transport.scheme}://{self.endpoint.host}/")
        for last in (False, True):
            sent = {**(headers or {}), **(self._auth.header(scope) if ours else {})}
            answer = self.transport.request(method, url, sent, body, retry=retry)
            if answer.status != 401 or not ours:
                return answer
            challenge = answer.headers.get("WWW-Authenticate", "")
            if last:
                raise self._refused(answer)
            refusal = self._refused(answer)
            if not self._auth.challenged(challenge, scope):
                raise refusal
            if body is not None and not isinstance(body, bytes):
                body.seek(body.start)
        raise AssertionError("not reached")

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_error: object) -> None:
        self.transport.close()

    def _refused(self, answer: Answer) -> WherryError:
        with answer:
            code, message = _complaint(answer.whole(1 << 16))
        if self._auth.credentials() is not None:
            return AccessDenied("unauthorized: incorrect username or password" if not message else f"unauthorized: {message}")
        return AccessDenied(f"{(code or 'unauthorized').lower().replace('_', ' ')}: {message or 'authentication required'}")

    def _failed(self, answer: Answer, what: str) -> WherryError:
        """The error of an answer whose status is none that was hoped for."""
        code, message = _complaint(answer.whole(1 << 16))
        if answer.status == 404:
            return Missing(f"{what} not found: {(code or 'not found').lower().replace('_', ' ')}: {message or 'not found'}")
        if answer.status in (401, 403):
            return AccessDenied(f"{(code or 'denied').lower()}: {message or 'requested access to the resource is denied'}")
        text = f"{what}: the registry {self.endpoint.host} answers with status {answer.status}{': ' + message if message else ''}"
        if answer.status == 429:
            text = f"toomanyrequests: {message or 'the registry asks for fewer requests'}"
        if answer.status in AGAIN:
            broken = Broken(text)
            broken.wait_s = retry_after(answer.headers.get("Retry-After", ""))
            return broken
        return RegistryError(text)

    # -- manifests -------------------------------------------------------------------------------------------------------

    def head(self, reference: str) -> str:
        """The digest that a tag stands for, "" when the registry doesn't say. Raises Missing, AccessDenied, RegistryError."""
        with self.request("HEAD", f"/v2/{self.endpoint.path}/manifests/{reference}", {"Accept": manifests.ACCEPT}) as answer:
            if answer.status == 404:
                raise Missing(f"manifest {reference} not found: manifest unknown")
            digest = answer.headers.get("Docker-Content-Digest", "")
            return digest if answer.status == 200 and digests.is_digest(digest) else ""

    def manifest(self, reference: str, what: str) -> manifests.Manifest | manifests.Index:
        """By tag or digest; one by digest is checked against it. Raises Missing, RegistryError."""
        with self.request("GET", f"/v2/{self.endpoint.path}/manifests/{reference}", {"Accept": manifests.ACCEPT}) as answer:
            if answer.status != 200:
                raise self._failed(answer, f"manifest for {what}")
            data = answer.whole(manifests.SIZE_LIMIT)
            media_type = answer.headers.get("Content-Type", "")
            claimed = answer.headers.get("Docker-Content-Digest", "")
        digest = digests.of(data)
        if ":" in reference and digest != reference:
            raise RegistryError(f"the manifest {reference} of {what} has another digest: {digest}")
        # The header is only a claim; one that is wrong tells of a registry or a proxy that isn't to be trusted.
        if claimed.startswith("sha256:") and claimed != digest:
            raise RegistryError(f"the registry says that the manifest of {what} has the digest {claimed}, but it is {digest}")
        return manifests.parse(data, media_type, what)

    def put_manifest(self, reference: str, data: bytes, media_type: str) -> str:
        """Raises RegistryError."""
        with self.request("PUT", f"/v2/{self.endpoint.path}/manifests/{reference}", {"Content-Type": media_type}, data) as answer:
            if answer.status not in (200, 201, 202):
                raise self._failed(answer, f"manifest {reference}")
        return digests.of(data)

    # -- blobs -----------------------------------------------------------------------------------------------------------

    def blob(self, digest: str, offset: int = 0, *, retry: bool = True) -> Answer:
        """The answer with a blob's bytes from `offset` on; its status is 200 when the registry doesn't do ranges."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self.request("GET", f"/v2/{self.endpoint.path}/blobs/{digest}", headers, retry=retry)
        if answer.status not in (200, 206):
            with answer:
                raise self._failed(answer, f"blob {digest}")
        return answer

    def small_blob(self, descriptor: manifests.Descriptor, limit: int) -> bytes:
        """A config: whole and checked. Raises RegistryError."""
        with self.blob(descriptor.digest) as answer:
            data = answer.whole(min(limit, descriptor.size))
        if len(data) != descriptor.size or digests.of(data) != descriptor.digest:
            raise RegistryError(f"the blob {descriptor.digest} has another digest or size: {digests.of(data)}, {len(data)} bytes")
        return data

    def has_blob(self, digest: str) -> bool:
        with self.request("HEAD", f"/v2/{self.endpoint.path}/blobs/{digest}") as answer:
            if answer.status in (401, 403):
                raise AccessDenied("denied: requested access to the resource is denied")
            return answer.status == 200

    # -- lists -----------------------------------------------------------------------------------------------------------

    def tags(self) -> list[str]:
        return self._pages(f"/v2/{self.endpoint.path}/tags/list", "tags")

    def catalog(self) -> list[str]:
        self._scope = "registry:catalog:*"
        return self._pages("/v2/_catalog", "repositories")

    def _pages(self, path: str, key: str) -> list[str]:
        found: list[str] = []
        url = self.transport.url(path)
        for _ in range(_PAGES):
            with self.request("GET", url) as answer:
                if answer.status != 200:
                    raise self._failed(answer, self.endpoint.path or self.endpoint.host)
                document = jsontext.loads(answer.whole(_LIST_LIMIT))
                link = answer.headers.get("Link", "")
            found += [str(t) for t in (document.get(key) if isinstance(document, dict) else None) or ()]
            if 'rel="next"' not in link or "<" not in link:
                return found
            url = joined(url, link.partition("<")[2].partition(">")[0])
        raise RegistryError(f"{url}: the list never ends")

    def ping(self) -> None:
        """Whether the registry lets us in (`login`). Raises AccessDenied, RegistryError."""
        self._scope = ""
        with self.request("GET", "/v2/") as answer:
            if answer.status not in (200, 202):
                raise self._failed(answer, answer.url)


def _complaint(data: bytes) -> tuple[str, str]:
    """(code, message) of a registry's error document, empty for anything else."""
    try:
        error = jsontext.loads(data)["errors"][0]
        message = str(error.get("message") or "")
        return str(error.get("code") or ""), "".join(c for c in message if c.isprintable())[:500]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "", ""
