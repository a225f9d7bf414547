"""Volumes as callers see them, docker's rule for their names, and what a mount of one asks for."""

from __future__ import annotations

from wherry.errors import InvalidArgument, UsageError
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.model.mounts import MountSpec

ANONYMOUS_LABEL = "com.docker.volume.anonymous"
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
# A name is a folder's, and the staged one of a removal is a little longer; file systems take 255 bytes.
_LONGEST = 200


class VolumeSummary(Record):
    """A volume. `created_ns` and `used_ns` (0: never) since the epoch; `size_bytes` is -1 when not asked for.

    `containers` are ids of those that refer to it, also of stopped ones.
    """

    name: str
    driver: str
    mountpoint: str
    options: dict[str, str]
    labels: dict[str, str]
    anonymous: bool
    created_ns: int
    used_ns: int = 0
    size_bytes: int = -1
    containers: tuple[str, ...] = ()


class Asked(Record):
    """What a mount of type volume asks of its volume, beyond its name."""

    no_copy: bool = False
    driver: str = ""
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


def check_name(name: str) -> None:
    """Raises InvalidArgument with docker's words."""
    if len(name) < 2 or name[0] in "_.-" or not _CHARACTERS.issuperset(name):
        if len(name) == 1 and name in _CHARACTERS:
            raise InvalidArgument("volume name is too short, names should be at least two alphanumeric characters")
        raise InvalidArgument(
            f'"{name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
            "If you intended to pass a host directory, use absolute path"
        )
    if len(name) > _LONGEST:
        raise InvalidArgument(f"volume name {name[:40]}… is too long: {len(name)} characters, {_LONGEST} are allowed")


def asked_of(mount: MountSpec, default_driver: str = "") -> Asked:
    """What a mount's options say about its volume. Raises UsageError."""
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    no_copy, driver = False, default_driver
    for option in mount.options:
        key, _, value = option.partition("=")
        if option == "nocopy" or option == "volume-nocopy=true":
            no_copy = True
        elif key == "volume-driver":
            driver = value
        elif key == "volume-opt":
            name, equals, text = value.partition("=")
            if not equals and not name:
                raise UsageError(f"invalid field '{option}' must be a key=value pair")
            options[name] = text
        elif key == "volume-label":
            name, _, text = value.partition("=")
            labels[name] = text
    return Asked(no_copy, driver, options, labels)
