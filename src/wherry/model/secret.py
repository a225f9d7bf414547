"""`run --secret`: podman's grammar (pkg/specgenutil, `parseSecrets`)."""

from __future__ import annotations

from wherry.errors import UsageError
from wherry.model.record import Record


class SecretSpec(Record):
    """A secret that a container gets. `type`: mount or env. `target`: file name, path or variable; "" is the secret's own name."""

    source: str
    type: str = "mount"
    target: str = ""
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


def parse(text: str) -> SecretSpec:
    """NAME[,type=mount|env][,target=…][,uid=…][,gid=…][,mode=…]. Raises UsageError."""
    words = text.split(",")
    found: dict[str, object] = {}
    if words and "=" not in words[0]:
        found["source"] = words.pop(0)
    for word in words:
        key, equals, value = word.partition("=")
        key = {"source": "source", "src": "source", "id": "source", "dst": "target", "destination": "target"}.get(key.lower(), key.lower())
        if not equals or key not in SecretSpec._fields_:
            raise UsageError(f"option {word} is invalid: error parsing secret")
        if key in ("uid", "gid"):
            found[key] = _number(word, value, 10)
        elif key == "mode":
            found[key] = _number(word, value, 8)
        else:
            found[key] = value
    if not found.get("source"):
        raise UsageError("no source found in secret: error parsing secret")
    spec = SecretSpec(**found)  # type: ignore[arg-type]
    if spec.type not in ("mount", "env"):
        raise UsageError(f"type {spec.type} is invalid: error parsing secret")
    if spec.type == "env" and {"uid", "gid", "mode"} & set(found):
        raise UsageError("UID, GID, Mode options cannot be set with secret type env: error parsing secret")
    if ".." in spec.target.split("/"):
        raise UsageError(f"secret target {spec.target} must not climb with ..")
    return spec


def _number(word: str, value: str, base: int) -> int:
    try:
        number = int(value, base)
    except ValueError:
        number = -1
    if not 0 <= number < (1 << 32 if base == 10 else 0o10000):
        raise UsageError(f"{word} is invalid: error parsing secret")
    return number
