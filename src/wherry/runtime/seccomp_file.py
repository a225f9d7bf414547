"""A user's seccomp profile: docker's JSON, with its conditions on capabilities, architecture and kernel resolved."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARCHITECTURES = {"x86_64": ("amd64", "x32", "x86"), "aarch64": ("arm64", "arm")}


def resolved(text: bytes, capabilities: frozenset[str], machine: str) -> dict[str, Any]:
    """The profile with only the rules that apply. Raises InvalidArgument."""
    try:
        profile = jsontext.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from error
    if not isinstance(profile, dict) or not isinstance(profile.get("syscalls") or [], list):
        raise InvalidArgument("Decoding seccomp profile failed: it is not an object with a list of syscalls")
    rules = []
    for rule in profile.get("syscalls") or ():
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if _meets(includes, capabilities, machine) and not (excludes and _excluded(excludes, capabilities, machine)):
            rules.append(rule)
    return {**profile, "architectures": _architectures(profile, machine), "syscalls": rules}


_NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


def _architectures(profile: dict[str, Any], machine: str) -> list[str]:
    """docker's rule: the compatible ones from `archMap`, or a plain list, never both; with neither the machine's own alone."""
    plain, mapped = profile.get("architectures") or (), profile.get("archMap") or ()
    if plain and mapped:
        raise InvalidArgument("Decoding seccomp profile failed: both 'architectures' and 'archMap' are specified, use either of them")
    for entry in mapped:
        if entry.get("architecture") == _NATIVE.get(machine):
            return [str(name) for name in entry.get("subArchitectures") or ()]
    return [str(name) for name in plain]


def _meets(condition: dict[str, Any], capabilities: frozenset[str], machine: str) -> bool:
    names = [c.removeprefix("CAP_") for c in condition.get("caps") or ()]
    if names and not all(c in capabilities for c in names):
        return False
    arches = condition.get("arches") or ()
    if arches and not any(a in _ARCHITECTURES.get(machine, ()) for a in arches):
        return False
    least = condition.get("minKernel")
    return not least or _version(os.uname().release) >= _version(str(least))


def _excluded(condition: dict[str, Any], capabilities: frozenset[str], machine: str) -> bool:
    if any(c.removeprefix("CAP_") in capabilities for c in condition.get("caps") or ()):
        return True
    return any(a in _ARCHITECTURES.get(machine, ()) for a in condition.get("arches") or ())


def _version(text: str) -> tuple[int, int]:
    parts = text.split(".")
    numbers = ["".join(c for c in p if c.isdigit()) or "0" for p in (parts + ["0"])[:2]]
    return int(numbers[0]), int(numbers[1])
