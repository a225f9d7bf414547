"""RUN --mount: bind, cache, tmpfs, secret and ssh; the grammar and the errors are BuildKit's."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.model import sizes
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_KEYS = {
    "bind": {"from", "source", "target", "readonly", "readwrite"},
    "cache": {"id", "from", "source", "target", "readonly", "readwrite", "sharing", "mode", "uid", "gid"},
    "tmpfs": {"target", "size"},
    "secret": {"id", "source", "target", "required", "mode", "uid", "gid", "env"},
    "ssh": {"id", "target", "required", "mode", "uid", "gid"},
}
_SYNONYMS = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_SWITCHES = ("readonly", "readwrite", "required")


class Mount(Record):
    """`target` "" where the type has a default that depends on the step. Sizes in bytes, -1 where none is given."""

    type: str
    target: str = ""
    source: str = ""
    from_: str = ""
    id: str = ""
    read_only: bool = False
    sharing: str = "shared"
    required: bool = False
    size: int = -1
    mode: int = -1
    uid: int = 0
    gid: int = 0
    env: str = ""


def parse(text: str, expand: Callable[[str], str]) -> Mount:
    """A --mount's value. `expand` is used on all values but `from`, whose stage must be known before. Raises InvalidArgument."""
    import csv

    fields = next(csv.reader([text]), [])
    kind = "bind"
    values: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        key = _SYNONYMS.get(key.strip().lower(), key.strip().lower())
        if not equals:
            if key not in _SWITCHES:
                raise InvalidArgument(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        elif key == "from":
            if "$" in value:
                raise InvalidArgument(f"'{value}' from value for mount: variable expansion is not supported for \"from\"")
        else:
            value = expand(value)
        if key == "type":
            kind = value.lower()
            if kind not in TYPES:
                raise InvalidArgument(f'unsupported mount type "{value}"')
        else:
            values[key] = value
    for key in values:
        if key not in _KEYS[kind]:
            raise InvalidArgument(f"unexpected key '{key}' for mount type '{kind}'")
    return _checked(kind, values)


def _checked(kind: str, values: dict[str, str]) -> Mount:
    read_only = kind == "bind"
    if "readwrite" in values:
        read_only = not _switch("readwrite", values["readwrite"])
    if "readonly" in values:
        read_only = _switch("readonly", values["readonly"])
    target = values.get("target", "")
    if not target and kind in ("bind", "cache", "tmpfs"):
        raise InvalidArgument("target path required for mount" if kind != "cache" else "missing a value on mount key: target")
    sharing = values.get("sharing", "shared")
    if sharing not in SHARING:
        raise InvalidArgument(f'unsupported sharing value "{sharing}"')
    name = values.get("id", "")
    if kind == "secret" and not name:
        name = (values.get("source") or target).rsplit("/", 1)[-1]
        if not name:
            raise InvalidArgument("secret mount should have an id or a target")
    if kind == "cache":
        # A cache that starts from something is not the one of that id that starts empty.
        name = name or target
    return Mount(
        kind,
        target,
        values.get("source", ""),
        values.get("from", ""),
        name,
        read_only,
        sharing,
        _switch("required", values["required"]) if "required" in values else False,
        sizes.parse_bytes(values["size"]) if "size" in values else -1,
        _number("mode", values["mode"], 8) if "mode" in values else -1,
        _number("uid", values.get("uid", "0"), 10),
        _number("gid", values.get("gid", "0"), 10),
        values.get("env", ""),
    )


def _switch(key: str, value: str) -> bool:
    if value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    raise InvalidArgument(f"invalid value for {key}: {value}")


def _number(key: str, value: str, base: int) -> int:
    try:
        number = int(value, base)
    except ValueError:
        number = -1
    if number < 0:
        raise InvalidArgument(f"invalid value {value} for {key}")
    return number
