"""Security modules of the host."""

from __future__ import annotations


def apparmor_enabled() -> bool:
    return _first("/sys/module/apparmor/parameters/enabled") == "Y"


def selinux_enabled() -> bool:
    """Whether labels mean anything, enforced or not."""
    return _first("/sys/fs/selinux/enforce") != ""


def _first(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read(64).strip()
    except OSError:
        return ""
