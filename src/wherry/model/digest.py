"""Digests: "sha256:" and 64 hexadecimal digits (OCI image spec, descriptor)."""

from __future__ import annotations

_HEX = frozenset("0123456789abcdef")


def is_digest(text: str) -> bool:
    algorithm, _, value = text.partition(":")
    return (
        algorithm == "sha256"
        and len(value) == 64
        and _HEX.issuperset(value)
        or (algorithm == "sha512" and len(value) == 128 and _HEX.issuperset(value))
    )


def of(data: bytes) -> str:
    import hashlib

    return "sha256:" + hashlib.sha256(data).hexdigest()
