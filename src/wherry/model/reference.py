"""Names of images: docker's grammar and normalisation (distribution/reference), without regular expressions.

[domain/]path[:tag][@digest]      canonical: docker.io/library/alpine:latest      familiar: alpine:latest
"""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.model import digest as digests
from wherry.model.record import Record

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TAG_REST = _ALNUM | frozenset("_.-")


class Reference(Record):
    """A normalised name: `domain`/`path`, and a tag or a digest or both ("" when there is none)."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        return f"{self.domain}/{self.path}"

    @property
    def canonical(self) -> str:
        return self.repository + (":" + self.tag if self.tag else "") + ("@" + self.digest if self.digest else "")

    @property
    def familiar_repository(self) -> str:
        if self.domain != DEFAULT_DOMAIN:
            return self.repository
        return self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path

    @property
    def familiar(self) -> str:
        return self.familiar_repository + (":" + self.tag if self.tag else "") + ("@" + self.digest if self.digest else "")

    def tagged(self) -> Reference:
        """With `latest` where neither a tag nor a digest is given."""
        return self if self.tag or self.digest else self.replace(tag=DEFAULT_TAG)


def parse(text: str) -> Reference:
    """A name as people write it. Raises InvalidArgument with docker's words."""
    if len(text) == 64 and all(c in "0123456789abcdef" for c in text):
        raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    if at and not digests.is_digest(digest):
        raise InvalidArgument("invalid reference format")
    domain, path = _split_domain(rest)
    head, colon, tag = path.rpartition(":")
    if colon:
        path = head
        if not is_tag(tag):
            raise InvalidArgument("invalid reference format")
    else:
        tag = ""
    if path != path.lower():
        raise InvalidArgument(f"invalid reference format: repository name ({path}) must be lowercase")
    if not _is_domain(domain) or not _is_path(path):
        raise InvalidArgument("invalid reference format")
    if len(domain) + 1 + len(path) > 255:
        raise InvalidArgument("repository name must not be more than 255 characters")
    return Reference(domain, path, tag, digest)


def _split_domain(name: str) -> tuple[str, str]:
    """The first part is a domain when it could be no path: it has a dot, a port, is localhost, or has capitals."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        domain, path = DEFAULT_DOMAIN, name
    else:
        domain, path = first, rest
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = "library/" + path
    return domain, path


def is_tag(tag: str) -> bool:
    return 0 < len(tag) <= 128 and (tag[0] in _ALNUM or tag[0] == "_") and _TAG_REST.issuperset(tag)


def _is_path(path: str) -> bool:
    return bool(path) and all(_is_component(part) for part in path.split("/"))


def _is_component(part: str) -> bool:
    """Runs of lower-case letters and digits, joined by one dot, one or two underscores, or any number of hyphens."""
    if not part or part[0] not in _LOWER or part[-1] not in _LOWER:
        return False
    run = ""
    for character in part:
        if character in _LOWER:
            if run and run not in (".", "_", "__") and run.strip("-"):
                return False
            run = ""
        elif character in "._-":
            run += character
        else:
            return False
    return True


def _is_domain(domain: str) -> bool:
    if domain.startswith("["):
        address, bracket, port = domain[1:].partition("]")
        return bool(bracket) and bool(address) and all(c in "0123456789abcdefABCDEF:" for c in address) and _is_port(port)
    host, colon, port = domain.partition(":")
    if colon and not (port and port.isdigit()):
        return False
    return bool(host) and all(_is_label(label) for label in host.split("."))


def _is_port(text: str) -> bool:
    return not text or text.startswith(":") and text[1:].isdigit()


def _is_label(label: str) -> bool:
    return bool(label) and label[0] in _ALNUM and label[-1] in _ALNUM and all(c in _ALNUM or c == "-" for c in label)
