"""-v, --mount and --tmpfs: three spellings of one record. The grammar is docker's (moby, volume/mounts; docker/cli, opts/mount.go).

What docker's client finds wrong is a UsageError, what its daemon finds an InvalidArgument.
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, UsageError, WherryError
from wherry.model import sizes
from wherry.model.record import Record

_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable")
_CONSISTENCY = ("consistent", "cached", "delegated", "default")
# podman's per-mount switches
_SWITCHES = ("exec", "noexec", "dev", "nodev", "suid", "nosuid", "bind", "rbind")


class MountSpec(Record):
    """One mount as the user asked for it.

    `type`: bind, tmpfs, volume or image. `bind_recursive`: "", enabled, disabled, writable, readonly. `chown` is :U, `overlay` :O.
    `origin` is the flag: "-v", "--mount", "--tmpfs", "--volumes-from", or "image". `holder`, known at the start only: "pid start" of the
    process in whose mount namespace the source is. `tmpfs_size` in bytes and `tmpfs_mode` are -1 when unset.
    """

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = ""
    bind_recursive: str = ""
    create_source: bool = False
    options: tuple[str, ...] = ()
    tmpfs_size: int = -1
    tmpfs_mode: int = -1
    subpath: str = ""
    chown: bool = False
    overlay: bool = False
    origin: str = "-v"
    holder: str = ""


def parse_volume(text: str) -> MountSpec:
    """-v [SOURCE:]TARGET[:MODES]. Raises UsageError, InvalidArgument with docker's words."""
    parts = text.split(":")
    if not text:
        raise UsageError("invalid empty volume spec")
    if len(text) > 2 and not all(parts):
        raise UsageError(f"invalid spec: {text}: empty section between colons")
    if len(parts) > 3:
        raise UsageError(f"invalid spec: {text}: too many colons")
    if not all(parts):
        raise InvalidArgument(f"invalid volume specification: '{text}'")
    if len(parts) == 1:
        return MountSpec("volume", _target(parts[0], "volume", text))
    source, target = parts[0], parts[1]
    modes = parts[2].split(",") if len(parts) == 3 else []
    if len(parts) == 2 and not target.startswith("/") and _is_mode(target):
        raise InvalidArgument(f"invalid volume specification: '{text}'")
    if source.startswith("."):
        source = os.path.abspath(source)
    is_bind = source.startswith(("/", "~"))
    target = _target(target, "bind" if is_bind else "volume", text)
    return _with_modes(MountSpec("bind" if is_bind else "volume", target, source, create_source=is_bind), modes)


def _is_mode(word: str) -> bool:
    return all(w in ("ro", "rw", "z", "Z", "nocopy", "U", "O") or w in _PROPAGATION for w in word.split(","))


def _target(target: str, kind: str, volume: str = "") -> str:
    """Absolute, and not the root. `volume`: the -v that it is from."""
    reason = ""
    if not target.startswith("/"):
        reason = f"invalid mount path: '{target}' mount path must be absolute"
    elif os.path.normpath(target) in ("/", "//"):
        reason = "invalid specification: destination can't be '/'"
    if not reason:
        return target
    reason = f'invalid mount config for type "{kind}": {reason}'
    raise InvalidArgument(f"invalid volume specification: '{volume}': {reason}" if volume else reason)


def _with_modes(spec: MountSpec, modes: list[str]) -> MountSpec:
    classes: set[str] = set()
    changes: dict[str, object] = {"options": tuple(modes)}
    for mode in modes:
        if mode in ("ro", "rw"):
            kind = "access"
            changes["read_only"] = mode == "ro"
        elif mode in ("z", "Z"):
            kind = "label"
        elif mode in _PROPAGATION:
            kind = "propagation"
            changes["propagation"] = mode
        elif mode in _CONSISTENCY:
            kind = "consistency"
        elif mode == "nocopy" and spec.type == "volume":
            kind = "copy"
        elif mode == "U":
            kind, changes["chown"] = "chown", True
        elif mode == "O":
            kind, changes["overlay"] = "overlay", True
        elif mode in _SWITCHES:
            kind = mode
        else:
            kind = ""
        if not kind or kind in classes or kind == "propagation" and spec.type != "bind":
            raise InvalidArgument(f"invalid mode: {','.join(modes)}")
        classes.add(kind)
    return spec.replace(**changes)


def parse_tmpfs(text: str) -> MountSpec:
    """--tmpfs TARGET[:OPTIONS]; options are mount(8)'s, checked when the container starts. Raises InvalidArgument."""
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{target}' mount path must be absolute")
    if os.path.normpath(target) in ("/", "//"):
        raise InvalidArgument("invalid specification: destination can't be '/'")
    words = tuple(w for w in options.split(",") if w)
    return MountSpec("tmpfs", target, read_only="ro" in words, options=words, origin="--tmpfs")


_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "chown": "u"}
_BOOLEAN = ("readonly", "volume-nocopy", "bind-create-src", "bind-nonrecursive", "u")
_KINDS = ("bind", "tmpfs", "volume", "image")


def parse_mount(text: str) -> MountSpec:
    """--mount key=value,… as docker reads it. Raises UsageError, InvalidArgument."""
    if not text:
        raise UsageError("EOF")
    fields: dict[str, str] = {}
    for word in _csv(text):
        key, equals, value = word.partition("=")
        key = _ALIASES.get(key.lower(), key.lower())
        if key != key.strip() or value != value.strip():
            raise UsageError(f"invalid option '{key.strip()}' in '{word}': option should not have whitespace")
        if not equals:
            if key not in _BOOLEAN:
                raise UsageError(f"invalid field '{word}' must be a key=value pair")
            value = "true"
        elif key in _BOOLEAN:
            value = "true" if _boolean(key, value) else "false"
        fields[key] = value
    kind = fields.pop("type", "volume").lower()
    if not kind:
        raise UsageError("type is required")
    target = fields.pop("target", "")
    if not target:
        raise UsageError("target is required")
    source = fields.pop("source", "")
    if kind not in _KINDS:
        raise InvalidArgument(f'invalid mount config for type "{kind}": mount type unknown')
    return _of_fields(kind, target, source, fields)


def _of_fields(kind: str, target: str, source: str, fields: dict[str, str]) -> MountSpec:
    if kind == "bind" and source.startswith("."):
        source = os.path.abspath(source)
    changes: dict[str, object] = {}
    options = []
    for key, value in fields.items():
        family = key.partition("-")[0]
        if family in _KINDS and family != kind and key in _KEYS:
            raise UsageError(f"cannot mix '{family}-*' options with mount type '{kind}'")
        if key == "readonly":
            changes["read_only"] = value == "true"
        elif key == "consistency":
            options.append(value)
        elif key == "u":
            changes["chown"] = value == "true"
        elif key == "bind-propagation":
            changes["propagation"] = value.lower()
        elif key == "bind-recursive":
            if value not in _RECURSIVE:
                raise UsageError(f'invalid value for {key}: {value} (must be "enabled", "disabled", "writable", or "readonly")')
            changes["bind_recursive"] = value
        elif key == "bind-nonrecursive":
            changes["bind_recursive"] = "disabled" if value == "true" else ""
        elif key == "bind-create-src":
            changes["create_source"] = value == "true"
        elif key == "tmpfs-size":
            changes["tmpfs_size"] = _size(value)
        elif key == "tmpfs-mode":
            changes["tmpfs_mode"] = _octal(value)
        elif key in ("volume-subpath", "image-subpath"):
            changes["subpath"] = value
        elif key in _KEYS:
            options.append(f"{key}={value}")
        else:
            raise UsageError(f"unexpected key '{key}' in '{key}={value}'")
    spec = MountSpec(kind, target, source, options=tuple(options), origin="--mount").replace(**changes)
    _check(spec)
    return spec


_RECURSIVE = ("enabled", "disabled", "writable", "readonly")
_KEYS = (
    "bind-propagation", "bind-recursive", "bind-nonrecursive", "bind-create-src", "tmpfs-size", "tmpfs-mode", "volume-subpath",
    "image-subpath", "volume-nocopy", "volume-label", "volume-driver", "volume-opt",
)  # fmt: skip


def _check(spec: MountSpec) -> None:
    """What the fields of a --mount must be together."""
    if spec.bind_recursive in ("writable", "readonly") and not spec.read_only:
        raise UsageError(f"option 'bind-recursive={spec.bind_recursive}' requires 'readonly' to be specified in conjunction")
    if spec.bind_recursive == "readonly" and spec.propagation != "rprivate":
        raise UsageError("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")
    head = f'invalid mount config for type "{spec.type}"'
    _target(spec.target, spec.type)
    if spec.type == "bind" and not spec.source:
        raise InvalidArgument(f"{head}: field Source must not be empty")
    if spec.type == "bind" and not spec.source.startswith("/"):
        raise InvalidArgument(f"{head}: invalid mount path: '{spec.source}' mount path must be absolute")
    if spec.type == "tmpfs" and spec.source:
        raise InvalidArgument(f"{head}: field Source must not be specified")
    if spec.subpath and (spec.subpath.startswith("/") or ".." in spec.subpath.split("/")):
        raise InvalidArgument(f"{head}: invalid subpath: {spec.subpath}: it must be a relative path inside the {spec.type}")
    if spec.propagation and spec.propagation not in _PROPAGATION:
        raise InvalidArgument(f"{head}: invalid propagation mode: {spec.propagation}")


def _boolean(key: str, value: str) -> bool:
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise UsageError(f"invalid value for {key}: {value}")


def _size(value: str) -> int:
    try:
        return sizes.parse_bytes(value)
    except WherryError:
        raise UsageError(f"invalid value for tmpfs-size: {value}") from None


def _octal(value: str) -> int:
    if not value or value.strip("01234567"):
        raise UsageError(f"invalid value for tmpfs-mode: {value}")
    return int(value, 8)


def _csv(text: str) -> list[str]:
    """One line of CSV: fields in double quotes may hold commas, "" is a quote."""
    fields, field, quoted, at = [], "", False, 0
    while at < len(text):
        character = text[at]
        if quoted:
            if character == '"' and text[at + 1 : at + 2] == '"':
                field += '"'
                at += 1
            elif character == '"':
                quoted = False
            else:
                field += character
        elif character == '"':
            quoted = True
        elif character == ",":
            fields.append(field)
            field = ""
        else:
            field += character
        at += 1
    if quoted:
        raise UsageError(f'parse error on line 1, column {len(os.fsencode(text)) + 1}: extraneous or missing " in quoted-field')
    fields.append(field)
    return fields
