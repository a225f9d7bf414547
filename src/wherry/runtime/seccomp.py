"""System call filters for containers, compiled once and kept by what they depend on."""

from __future__ import annotations

import binascii
import os

from wherry.errors import InvalidArgument
from wherry.model import caps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Raised with every change of the built-in profile or of the compiler, so that no older file is used.
_GENERATION = 3


def filter_for(capabilities: Iterable[str], profile: str, cache: str) -> bytes:
    """The filter (sock_filter[]) for a set of capabilities. `profile`: "" or "builtin", else the path of a JSON file, or its text.

    The hot path is reading one file of `cache`. Raises InvalidArgument for a profile that can't be read or makes no sense.
    """
    names = frozenset(n.removeprefix("CAP_") for n in capabilities)
    machine = os.uname().machine
    key = f"{machine}-{_GENERATION}-{caps.bits(names):x}"
    text = b""
    if profile not in ("", "builtin"):
        # The API's clients send the profile itself.
        text = profile.encode() if profile.lstrip().startswith("{") else _read(profile)
        key += f"-{binascii.crc32(text):08x}-{len(text)}"
    return _cached(f"{cache}/seccomp-{key}", lambda: _compile(names, text, machine))


def single_id_filter(cache: str) -> bytes:
    """For a user with one id: whatever changes owners or ids succeeds and does nothing, so that package managers work."""
    machine = os.uname().machine
    return _cached(f"{cache}/seccomp-single-{machine}-{_GENERATION}", lambda: _single(machine))


def single_id_profile() -> dict[str, Any]:
    """The rules of `single_id_filter`, in docker's JSON form."""
    rules: list[dict[str, Any]] = []
    for name in _FAKED:
        if not name.startswith("mknod"):
            rules.append({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 0})
            continue
        # FIFOs and sockets are made for real; only devices, which this user may not have, are said to have been.
        at = 1 if name == "mknod" else 2
        for kind in _DEVICES:
            arguments = [{"index": at, "value": _S_IFMT, "valueTwo": kind, "op": "SCMP_CMP_MASKED_EQ"}]
            rules.append({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 0, "args": arguments})
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}


_FAKED = (
    "chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32", "mknod", "mknodat", "setfsgid", "setfsgid32", "setfsuid",
    "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid",
    "setresuid32", "setreuid", "setreuid32", "setuid", "setuid32",
)  # fmt: skip
_S_IFMT, _DEVICES = 0o170000, (0o020000, 0o060000)


def _single(machine: str) -> bytes:
    from wherry.runtime import bpf

    return bpf.compile_profile(single_id_profile(), machine)


def _compile(names: frozenset[str], text: bytes, machine: str) -> bytes:
    from wherry.runtime import bpf, seccomp_profile

    if not text:
        return bpf.compile_profile(seccomp_profile.profile(names, machine), machine)
    from wherry.runtime import seccomp_file

    try:
        return bpf.compile_profile(seccomp_file.resolved(text, names, machine), machine)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # What comes from a user may have any shape: a wrong one is his error, not a crash of ours.
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(8 << 20)
    except OSError as error:
        raise InvalidArgument(f"opening seccomp profile ({path}) failed: {os.strerror(error.errno or 0).lower()}") from error


# How every filter of ours begins (load the architecture) and ends (kill what has another).
_FIRST = b"\x20\0\0\0\x04\0\0\0"
_LAST = b"\x06\0\0\0\0\0\0\x80"


def _cached(path: str, make: Any) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _made(path, make())
    try:
        data = os.read(fd, 1 << 16)
    finally:
        os.close(fd)
    # A file that a power cut left empty, cut or full of zeros is made again.
    return data if data.startswith(_FIRST) and data.endswith(_LAST) and len(data) % 8 == 0 else _made(path, make())


def _made(path: str, data: bytes) -> bytes:
    temporary = f"{path}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        # Only a cache: without it the next start compiles again.
        return data
    return data
