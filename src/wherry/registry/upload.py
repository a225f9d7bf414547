"""Blobs into a repository: skipped when there, mounted from another repository, or sent in one piece that is continued after a break."""

from __future__ import annotations

import os

from wherry.errors import RegistryError
from wherry.registry.transport import Broken, joined, with_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.registry.client import Repository

_CHUNK = 1 << 18


class Source:
    """A file from `start` on, as a request's body: http.client reads it, `seek` begins anew."""

    def __init__(self, fd: int, start: int, end: int, sent: Callable[[int], None]) -> None:
        self._fd = fd
        self.start = start
        self._end = end
        self._at = start
        self._sent = sent

    def read(self, size: int = -1) -> bytes:
        most = self._end - self._at if size < 0 else min(max(size, _CHUNK), self._end - self._at)
        data = os.pread(self._fd, most, self._at) if most else b""
        self._at += len(data)
        self._sent(self._at)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at


def upload(repository: Repository, digest: str, fd: int, size: int, *, mount_from: tuple[str, ...], sent: Callable[[int], None]) -> str:
    """Bring a blob that isn't there into the repository. Returns the name of the repository it was mounted from, "" if it was sent.

    Raises AccessDenied, RegistryError.
    """
    place = ""
    for other in mount_from:
        place = _begin(repository, (("mount", digest), ("from", other)))
        if not place:
            return other
    place = place or _begin(repository, ())
    attempt = 0
    while True:
        try:
            _send(repository, place, digest, fd, size, sent)
            return ""
        except Broken as error:
            if attempt >= repository.transport.options.retries:
                raise
            repository.transport.pause(attempt, error.wait_s)
            attempt += 1
            if repository.has_blob(digest):
                return ""
            place = _begin(repository, ())


def mount(repository: Repository, digest: str, other: str) -> bool:
    """Whether the registry could take a blob over from another repository of its own."""
    place = _begin(repository, (("mount", digest), ("from", other)))
    if place:
        # It began an upload instead, which nobody will finish.
        repository.request("DELETE", place).__exit__()
    return not place


def _begin(repository: Repository, pairs: tuple[tuple[str, str], ...]) -> str:
    """The place of a new upload; "" when the registry mounted the blob instead."""
    url = repository.transport.url(f"/v2/{repository.endpoint.path}/blobs/uploads/")
    other = dict(pairs).get("from", "")
    with repository.request("POST", with_query(url, pairs) if pairs else url, {"Content-Length": "0"}, also=other) as answer:
        if answer.status == 201 and pairs:
            return ""
        if answer.status not in (202, 201):
            raise repository._failed(answer, f"upload to {repository.endpoint.path}")
        place = answer.headers.get("Location", "")
    if not place:
        raise RegistryError(f"{repository.endpoint.host} names no place for an upload")
    return joined(url, place)


def _send(repository: Repository, place: str, digest: str, fd: int, size: int, sent: Callable[[int], None]) -> None:
    """PATCH what is missing (after a break: from where the registry got to), then PUT with the digest."""
    offset = 0
    for last in (False, False, True):
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size - offset)}
        if offset:
            headers["Content-Range"] = f"{offset}-{size - 1}"
        try:
            body = Source(fd, offset, size, sent)
            with repository.request("PATCH", place, headers, body, retry=False) as answer:
                if answer.status not in (202, 201, 204):
                    raise repository._failed(answer, f"blob {digest}")
                place = joined(place, answer.headers.get("Location", place))
            break
        except Broken:
            if last:
                raise
            reached = _reached(repository, place)
            if reached is None:
                raise
            place, offset = reached
            if offset >= size:
                break
    with repository.request("PUT", with_query(place, (("digest", digest),)), {"Content-Length": "0"}, retry=False) as answer:
        if answer.status not in (201, 204):
            raise repository._failed(answer, f"blob {digest}")


def _reached(repository: Repository, place: str) -> tuple[str, int] | None:
    """Where an upload that broke stands: (place to go on, bytes that are there); None when it can't be continued."""
    try:
        with repository.request("GET", place) as answer:
            if answer.status not in (202, 204):
                return None
            end = answer.headers.get("Range", "").partition("-")[2]
            return joined(place, answer.headers.get("Location", place)), int(end) + 1 if end.isdigit() and int(end) else 0
    except RegistryError:
        return None
