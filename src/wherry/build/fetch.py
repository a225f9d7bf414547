"""ADD of URLs: fetched once a build, asked again with the tag of the last time; checked against --checksum.

Git URLs are cloned by the host's git.
"""

from __future__ import annotations

import email.utils
import hashlib
import os
import re
import shutil
import threading
import urllib.error
import urllib.parse
import urllib.request

from wherry.build import git
from wherry.build.takes import is_archive
from wherry.errors import BuildError
from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.build.state import CopyStep

_CHUNK = 1 << 18
_TIMEOUT_S = 60


class Got:
    """What a source brought: in `folder` at `path`, called `name`. `chmod`: the mode that a plain download has."""

    def __init__(self, folder: str, path: str, name: str, digest: str, *, unpack: bool, chmod: str, listing: dict[str, Any]) -> None:
        self.folder = folder
        self.path = path
        self.name = name
        self.digest = digest
        self.unpack = unpack
        self.chmod = chmod
        self.listing = listing


class Fetcher:
    """Fetches into `folder` (of this build) and keeps what servers let it keep in `kept`, from build to build."""

    def __init__(self, folder: str, kept: str, secrets: dict[str, bytes]) -> None:
        self._folder = folder
        self._kept = kept
        self._secrets = secrets
        self._got: dict[tuple[str, ...], Got] = {}
        self._lock = threading.Lock()

    def get(self, source: str, step: CopyStep) -> Got:
        """Raises BuildError."""
        with self._lock:
            wanted = (source, step.checksum, str(step.unpack), str(step.keep_git_dir), step.destination[-1:])
            if wanted not in self._got:
                os.makedirs(self._folder, 0o700, exist_ok=True)
                self._got[wanted] = self._git(source, step) if git.is_git(source) else self._url(source, step)
            return self._got[wanted]

    def _git(self, source: str, step: CopyStep) -> Got:
        where = git.parse(source)
        folder = f"{self._folder}/git{len(self._got)}"
        commit, _seconds = git.clone(where, folder, keep=step.keep_git_dir or where.keep, checksum=step.checksum or where.checksum)
        sub = where.subdir.strip("/")
        listing = _listing(os.path.join(folder, sub))
        return Got(folder, sub, "", f"{commit} {sub} {step.keep_git_dir}", unpack=False, chmod="", listing=listing)

    def _url(self, source: str, step: CopyStep) -> Got:
        name = _name_of(source)
        if not name and step.destination.endswith("/"):
            raise BuildError(f"cannot determine filename for source {source}")
        name = name or os.path.basename(step.destination)
        folder = f"{self._folder}/url{len(self._got)}"
        os.makedirs(folder, 0o700)
        path = f"{folder}/{name}"
        digest, modified = self._download(source, path, step.checksum)
        if step.checksum and step.checksum != digest:
            raise BuildError(f"digest mismatch {digest}: {step.checksum}")
        if modified >= 0:
            os.utime(path, (modified, modified))
        unpack = bool(step.unpack) and is_archive(path)
        return Got(folder, name, name, f"{digest} {modified}", unpack=unpack, chmod="0600", listing={})

    def _download(self, url: str, path: str, checksum: str) -> tuple[str, int]:
        """Digest and Last-Modified (-1: none) of what a URL holds, written to `path`."""
        kept = f"{self._kept}/{hashlib.sha256(url.encode()).hexdigest()}"
        known = _read_json(kept + ".json")
        if known and checksum and known.get("digest") == checksum and os.path.exists(kept):
            shutil.copyfile(kept, path)
            return str(known["digest"]), int(known.get("modified", -1))
        request = urllib.request.Request(url, headers={"User-Agent": "wherry", "Accept-Encoding": "identity"})
        self._authorize(request)
        if known and os.path.exists(kept):
            if known.get("etag"):
                request.add_header("If-None-Match", str(known["etag"]))
            elif known.get("last_modified"):
                request.add_header("If-Modified-Since", str(known["last_modified"]))
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                return self._save(answer, path, kept)
        except urllib.error.HTTPError as error:
            if error.code == 304 and known:
                shutil.copyfile(kept, path)
                return str(known["digest"]), int(known.get("modified", -1))
            raise BuildError(f"failed to load cache key: invalid response status {error.code} for {url}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise BuildError(f"failed to load cache key: {url}: {reason}") from None

    def _authorize(self, request: urllib.request.Request) -> None:
        host = urllib.parse.urlsplit(request.full_url).netloc
        for prefix, scheme in (("HTTP_AUTH_HEADER_", ""), ("HTTP_AUTH_TOKEN_", "Bearer ")):
            secret = self._secrets.get(prefix + host)
            if secret:
                # Unredirected: another host must not see it.
                request.add_unredirected_header("Authorization", scheme + secret.decode("latin-1").strip())

    def _save(self, answer: Any, path: str, kept: str) -> tuple[str, int]:
        total = hashlib.sha256()
        with open(path, "xb") as file:
            while data := answer.read(_CHUNK):
                total.update(data)
                file.write(data)
        expected = answer.headers.get("Content-Length")
        if expected and expected.isdigit() and int(expected) != os.path.getsize(path):
            raise ValueError("the connection ended too early")
        digest = "sha256:" + total.hexdigest()
        last = answer.headers.get("Last-Modified") or ""
        modified = _seconds(last)
        if answer.headers.get("ETag") or last:
            os.makedirs(self._kept, 0o700, exist_ok=True)
            staged = f"{kept}.{os.getpid()}"
            shutil.copyfile(path, staged)
            os.replace(staged, kept)
            note = {"etag": answer.headers.get("ETag") or "", "last_modified": last, "digest": digest, "modified": modified}
            with open(staged, "w", encoding="utf-8") as record:
                record.write(jsontext.dumps(note))
            os.replace(staged, kept + ".json")
        return digest, modified


def _name_of(url: str) -> str:
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    name = "" if path.endswith("/") else os.path.basename(path)
    return "" if name in (".", "..") else re.sub(r"[\0-\x1f]", "_", name)


def _seconds(text: str) -> int:
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp()) if text else -1
    except (TypeError, ValueError):
        return -1


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = jsontext.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _listing(folder: str) -> dict[str, Any]:
    """Names below a folder, nested."""
    with os.scandir(folder) as entries:
        return {e.name: _listing(e.path) if e.is_dir(follow_symlinks=False) else 0 for e in sorted(entries, key=lambda e: e.name)}
