"""--device and --privileged: nodes of the host that a container gets."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_ROOT = "/dev"
# What a container has of its own, whatever the host's looks like.
_SKIPPED = ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/console", "/dev/.lxc", "/dev/.udev", "/dev/hugepages")
_KINDS = {0o020000: "c", 0o060000: "b"}


def devices(host: dict[str, Any], notes: dict[str, str], *, privileged: bool) -> list[dict[str, Any]]:
    """OCI's list of devices. Where one has another path in the container, `notes` gets the host's. Raises InvalidArgument."""
    found: dict[str, dict[str, Any]] = {}
    for path in _nodes(_ROOT) if privileged else ():
        _add(found, path, path, notes)
    for device in host.get("Devices") or ():
        outside, inside = _resolved(device["PathOnHost"]), device["PathInContainer"]
        if os.path.isdir(outside):
            added = [_add(found, _resolved(path), inside + path[len(outside) :], notes) for path in _nodes(outside, links=True)]
            there = any(added)
        else:
            there = _add(found, outside, inside, notes)
        if not there:
            raise InvalidArgument(
                f'error gathering device information while adding custom device "{device["PathOnHost"]}": {_reason(outside)}'
            )
    return list(found.values())


def _resolved(path: str) -> str:
    """A link is followed only when it ends in /dev, as docker does: /dev/disk/by-uuid is full of them."""
    path = os.path.normpath(path)
    if not os.path.islink(path):
        return path
    real = os.path.realpath(path)
    return real if real.startswith(_ROOT + "/") else path


def _nodes(folder: str, *, links: bool = False) -> list[str]:
    """Everything below a folder that may be a device, in order of name."""
    found: list[str] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError:
        return []
    for entry in entries:
        if entry.path in _SKIPPED or entry.is_symlink() and not links:
            continue
        if entry.is_dir(follow_symlinks=False):
            found += _nodes(entry.path, links=links)
        elif not entry.is_file(follow_symlinks=False):
            found.append(entry.path)
    return found


def _add(found: dict[str, dict[str, Any]], outside: str, inside: str, notes: dict[str, str]) -> bool:
    """Whether `outside` is a device; the first of two for the same path in the container stays."""
    try:
        status = os.lstat(outside)
    except OSError:
        return False
    kind = _KINDS.get(status.st_mode & 0o170000)
    if kind is None:
        return False
    if inside not in found and inside not in defaults.DEVICES:
        found[inside] = {
            "path": inside,
            "type": kind,
            "major": os.major(status.st_rdev),
            "minor": os.minor(status.st_rdev),
            "fileMode": status.st_mode & 0o7777,
        }
        if inside != outside:
            notes["io.wherry.device." + inside] = outside
    return True


def _reason(path: str) -> str:
    try:
        os.lstat(path)
    except OSError as error:
        return os.strerror(error.errno or 0).lower()
    return "not a device node"
