"""Image configs that come in: the JSON document is hostile until its parts have the types that the image specification gives them.

Everybody behind this (create, inspect, history, images) may rely on them. A null is as good as nothing.
"""

from __future__ import annotations

from wherry.errors import ArchiveError, InvalidArgument
from wherry.model import digest as digests
from wherry.model import jsontext, times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# What sqlite's integers hold: the years 1677 to 2262. Images made reproducible say year 1.
_FIRST_NS, _LAST_NS = -(1 << 63), (1 << 63) - 1

NoneType = type(None)
_TEXTS = ("User", "WorkingDir", "StopSignal", "Hostname", "Domainname", "Image")
_LISTS = ("Env", "Cmd", "Entrypoint", "OnBuild", "Shell")
_SETS = ("Volumes", "ExposedPorts")


def parse(data: bytes) -> dict[str, Any]:
    """The document. Raises ArchiveError that names the part at fault."""
    try:
        document = jsontext.loads(data)
    except ValueError as error:
        raise ArchiveError(f"the image's config is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ArchiveError("the image's config is not an object")
    if b"\\u" in data or not data.isascii():
        _check_characters(document)
    _texts(document, "", ("os", "architecture", "variant", "created", "author", "comment", "docker_version"))
    if not all((document.get(key) or "").isascii() for key in ("os", "architecture", "variant")):
        raise _wrong("its platform", "plain text")
    _objects(document, "", ("config", "rootfs"))
    _check_config(document.get("config") or {})
    _check_history(document)
    diff_ids(document)
    created_ns(document)
    return document


def diff_ids(document: dict[str, Any]) -> list[str]:
    """Digests of the layers' tars, bottom first. Raises ArchiveError."""
    found = (document.get("rootfs") or {}).get("diff_ids") or []
    if not isinstance(found, list):
        raise _wrong("rootfs.diff_ids", "a list")
    for diff_id in found:
        if not isinstance(diff_id, str) or not diff_id.startswith("sha256:") or not digests.is_digest(diff_id):
            raise ArchiveError(f"the image's config has a malformed diff id: {diff_id!r}")
    return found


def created_ns(document: dict[str, Any]) -> int:
    """When it was made, as near as the database can say. Raises ArchiveError."""
    text = document.get("created")
    if not text:
        return 0
    try:
        return min(max(times.parse_ns(text), _FIRST_NS), _LAST_NS)
    except InvalidArgument as error:
        raise ArchiveError(f"the image's config has a malformed time: {text!r}") from error


def _check_characters(value: Any) -> None:
    """Halves of characters can be written in JSON and nowhere else: no argument, no variable can hold them."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            try:
                item.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError:
                raise ArchiveError("the image's config holds half a character") from None
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            waiting += item
            waiting += item.values()


def _check_config(config: dict[str, Any]) -> None:
    _texts(config, "config.", _TEXTS)
    _objects(config, "config.", (*_SETS, "Labels", "Healthcheck"))
    for key in _LISTS:
        _texts_in(config, "config.", key)
    _texts(config.get("Labels") or {}, "config.Labels.", config.get("Labels") or ())
    _texts_in(config.get("Healthcheck") or {}, "config.Healthcheck.", "Test")


def _check_history(document: dict[str, Any]) -> None:
    steps = document.get("history") or []
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise _wrong("history", "a list of objects")
    for step in steps:
        _texts(step, "history.", ("created", "created_by", "author", "comment"))
        created_ns(step)


def _texts(owner: dict[str, Any], place: str, keys: Iterable[str]) -> None:
    for key in keys:
        if not isinstance(owner.get(key), (str, NoneType)):
            raise _wrong(place + key, "a string")


def _objects(owner: dict[str, Any], place: str, keys: Iterable[str]) -> None:
    for key in keys:
        if not isinstance(owner.get(key), (dict, NoneType)):
            raise _wrong(place + key, "an object")


def _texts_in(owner: dict[str, Any], place: str, key: str) -> None:
    found = owner.get(key)
    if found is not None and not (isinstance(found, list) and all(isinstance(item, str) for item in found)):
        raise _wrong(place + key, "a list of strings")


def _wrong(part: str, wanted: str) -> ArchiveError:
    return ArchiveError(f"the image's config is malformed: {part} is not {wanted}")
