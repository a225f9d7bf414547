"""Platforms: os/architecture[/variant] (containerd's normalisation)."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.model.record import Record

_MACHINES = {
    "x86_64": ("amd64", ""), "aarch64": ("arm64", ""), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"), "i686": ("386", ""), "i386": ("386", ""),
    "riscv64": ("riscv64", ""), "ppc64le": ("ppc64le", ""), "s390x": ("s390x", ""), "loongarch64": ("loong64", ""),
}  # fmt: skip
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "i386": "386"}


class Platform(Record):
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")

    def runs(self, other: Platform) -> bool:
        """Whether this host's platform runs images of `other`: same system and architecture, a variant no newer than ours."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return False
        return not other.variant or not self.variant or other.variant <= self.variant


def host() -> Platform:
    architecture, variant = _MACHINES.get(os.uname().machine, (os.uname().machine, ""))
    return Platform("linux", architecture, variant)


def parse(text: str) -> Platform:
    """ "linux/arm64", "arm64", "linux/arm/v7". Raises InvalidArgument."""
    parts = [p.lower() for p in text.split("/")]
    if not all(parts) or len(parts) > 3:
        raise InvalidArgument(f'"{text}": unknown platform: it should be of the form os/architecture/variant')
    if len(parts) == 1:
        parts = [parts[0], host().architecture] if parts[0] in ("linux", "windows", "darwin", "freebsd") else ["linux", parts[0]]
    architecture = _ALIASES.get(parts[1], parts[1])
    variant = parts[2] if len(parts) == 3 else "v7" if architecture == "arm" else ""
    return Platform(parts[0], architecture, "" if (architecture, variant) == ("arm64", "v8") else variant)
