"""-v, --mount and --tmpfs: three spellings of one record. The grammar is docker's (moby, volume/mounts; docker/cli, opts/mount.go)."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.model import sizes
from wherry.model.record import Record

_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable")
_CONSISTENCY = ("consistent", "cached", "delegated", "default")
# podman's per-mount switches
_SWITCHES = ("exec", "noexec", "dev", "nodev", "suid", "nosuid", "bind", "rbind")


class MountSpec(Record):
    """One mount as the user asked for it.

    `type`: bind, tmpfs, volume or image. `bind_recursive`: "", enabled, disabled, writable, readonly. `chown` is :U, `overlay` :O.
    `origin` is the flag: "-v", "--mount", "--tmpfs". `tmpfs_size` in bytes and `tmpfs_mode` are -1 when unset.
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


def parse_volume(text: str) -> MountSpec:
    """-v [SOURCE:]TARGET[:MODES]. Raises InvalidArgument with docker's words."""
    parts = text.split(":")
    if not text or len(parts) > 3 or not all(parts):
        raise InvalidArgument(f"invalid volume specification: '{text}'")
    if len(parts) == 1:
        return MountSpec("volume", _target(parts[0], text))
    source, target = parts[0], parts[1]
    modes = parts[2].split(",") if len(parts) == 3 else []
    if len(parts) == 2 and not target.startswith("/") and _is_mode(target):
        raise InvalidArgument(f"invalid volume specification: '{text}': volumes cannot include a mode")
    target = _target(target, text)
    if source.startswith("."):
        source = os.path.abspath(source)
    is_bind = source.startswith(("/", "~"))
    return _with_modes(MountSpec("bind" if is_bind else "volume", target, source, create_source=is_bind), modes, text)


def _is_mode(word: str) -> bool:
    return all(w in ("ro", "rw", "z", "Z", "nocopy", "U", "O") or w in _PROPAGATION for w in word.split(","))


def _target(target: str, text: str) -> str:
    if not target.startswith("/"):
        raise InvalidArgument(f"invalid volume specification: '{text}': invalid mount path: '{target}' mount path must be absolute")
    if os.path.normpath(target) in ("/", "//"):
        raise InvalidArgument(f"invalid volume specification: '{text}': invalid specification: destination can't be '/'")
    return target


def _with_modes(spec: MountSpec, modes: list[str], text: str) -> MountSpec:
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
            raise InvalidArgument(f"invalid volume specification: '{text}': invalid mode: {mode}")
        classes.add(kind)
    return spec.replace(**changes)


def parse_tmpfs(text: str) -> MountSpec:
    """--tmpfs TARGET[:OPTIONS]; options are mount(8)'s, checked when the container starts."""
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise InvalidArgument(f"invalid tmpfs mount '{text}': the path must be absolute")
    words = tuple(w for w in options.split(",") if w)
    return MountSpec("tmpfs", _target(target, text), read_only="ro" in words, options=words, origin="--tmpfs")


_BOOLEAN = ("readonly", "ro", "volume-nocopy", "bind-create-src", "bind-nonrecursive", "u", "chown")


def parse_mount(text: str) -> MountSpec:
    """--mount key=value,… as docker reads it. Raises InvalidArgument."""
    fields: dict[str, str] = {}
    for word in _csv(text):
        key, equals, value = word.partition("=")
        key = key.lower()
        if key != key.strip() or value != value.strip():
            raise InvalidArgument(
                f"invalid argument \"{text}\" for \"--mount\": invalid option '{key.strip()}' in '{word}': option should not have whitespace"
            )
        if not equals:
            if key not in _BOOLEAN:
                raise InvalidArgument(f'invalid argument "{text}" for "--mount": invalid field \'{word}\' must be a key=value pair')
            value = "true"
        fields[_ALIASES.get(key, key)] = value
    kind = fields.pop("type", "volume").lower()
    if kind not in ("bind", "tmpfs", "volume", "image"):
        raise InvalidArgument(f'invalid argument "{text}" for "--mount": invalid mount type: \'{kind}\'')
    if not fields.get("target"):
        raise InvalidArgument(f'invalid argument "{text}" for "--mount": target is required')
    target = fields.pop("target")
    if not target.startswith("/"):
        raise InvalidArgument(f"invalid mount config for type \"{kind}\": invalid mount path: '{target}' mount path must be absolute")
    return _of_fields(kind, target, fields, text)


_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "chown": "u"}


def _of_fields(kind: str, target: str, fields: dict[str, str], text: str) -> MountSpec:
    source = fields.pop("source", "")
    if kind == "bind" and source.startswith("."):
        source = os.path.abspath(source)
    if kind == "bind" and not source:
        raise InvalidArgument(f'invalid argument "{text}" for "--mount": source is required')
    changes: dict[str, object] = {}
    options = []
    for key, value in fields.items():
        if key == "readonly":
            changes["read_only"] = _boolean(key, value, text)
        elif key == "consistency":
            options.append(value)
        elif key == "bind-propagation" and kind == "bind" and value in _PROPAGATION:
            changes["propagation"] = value
        elif key == "bind-recursive" and kind == "bind" and value in ("enabled", "disabled", "writable", "readonly"):
            changes["bind_recursive"] = value
        elif key == "bind-nonrecursive" and kind == "bind":
            changes["bind_recursive"] = "disabled" if _boolean(key, value, text) else ""
        elif key == "bind-create-src" and kind == "bind":
            changes["create_source"] = _boolean(key, value, text)
        elif key == "tmpfs-size" and kind == "tmpfs":
            changes["tmpfs_size"] = sizes.parse_bytes(value)
        elif key == "tmpfs-mode" and kind == "tmpfs":
            changes["tmpfs_mode"] = _octal(value, text)
        elif key in ("volume-subpath", "image-subpath") and key.startswith(kind):
            changes["subpath"] = value
        elif key == "u":
            changes["chown"] = _boolean(key, value, text)
        elif key.startswith("volume-") and kind == "volume" and key in ("volume-nocopy", "volume-label", "volume-driver", "volume-opt"):
            options.append(f"{key}={value}")
        else:
            raise InvalidArgument(f"invalid argument \"{text}\" for \"--mount\": unexpected key '{key}' in '{key}={value}'")
    if changes.get("bind_recursive") == "readonly" and (not changes.get("read_only") or changes.get("propagation") != "rprivate"):
        raise InvalidArgument("option 'bind-recursive=readonly' requires 'readonly' and 'bind-propagation=rprivate' to be specified")
    return MountSpec(kind, target, source, options=tuple(options), origin="--mount").replace(**changes)


def _boolean(key: str, value: str, text: str) -> bool:
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise InvalidArgument(f'invalid argument "{text}" for "--mount": invalid value for {key}: {value}')


def _octal(value: str, text: str) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise InvalidArgument(f'invalid argument "{text}" for "--mount": invalid value for tmpfs-mode: {value}') from None


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
        raise InvalidArgument(f'invalid argument "{text}" for "--mount": a quote is not closed')
    fields.append(field)
    return fields
