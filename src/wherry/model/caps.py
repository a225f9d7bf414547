"""Linux capabilities: names, numbers, docker's default set and its rules for --cap-add and --cap-drop."""

from __future__ import annotations

from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# capability.h; the place is the number.
NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
    "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
    "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
    "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
_NUMBERS = {name: number for number, name in enumerate(NAMES)}

# moby, daemon/pkg/oci/caps: DefaultCapabilities.
DEFAULT = (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP", "NET_BIND_SERVICE",
    "SYS_CHROOT", "KILL", "AUDIT_WRITE",
)  # fmt: skip


def normal(name: str) -> str:
    """ "cap_net_raw" → "NET_RAW"; "ALL" stays. Raises InvalidArgument for one that doesn't exist."""
    plain = name.upper().removeprefix("CAP_")
    if plain != "ALL" and plain not in _NUMBERS:
        raise InvalidArgument(f'invalid capability: "{name}"', hint=f"known are {', '.join(NAMES)}")
    return plain


def merged(add: Iterable[str], drop: Iterable[str], *, privileged: bool = False) -> tuple[str, ...]:
    """The set of a container, in the order of NAMES: docker's rule (moby, TweakCapabilities). Raises InvalidArgument."""
    if privileged:
        return NAMES
    adds, drops = [normal(n) for n in add], [normal(n) for n in drop]
    if "ALL" in adds:
        kept = {n for n in NAMES if n not in drops}
    elif "ALL" in drops:
        kept = set(adds)
    else:
        kept = {n for n in DEFAULT if n not in drops} | set(adds)
    return tuple(n for n in NAMES if n in kept)


def bits(names: Iterable[str]) -> int:
    """Names, with or without CAP_, as the kernel's bit set."""
    found = 0
    for name in names:
        found |= 1 << _NUMBERS[name.removeprefix("CAP_")]
    return found
