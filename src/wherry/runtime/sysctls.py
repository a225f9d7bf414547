"""--sysctl: which settings of the kernel a container may have, by docker's rule (moby, daemon/pkg/opts `ValidateSysctl`)."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def allowed(host: dict[str, Any], own: set[str], gid_map: tuple[tuple[int, int, int], ...] | None, *, own_ids: bool) -> dict[str, str]:
    """The sysctls of a container: docker's two of its own accord, and those asked for.

    `own`: kinds of the namespaces that are the container's own; only their settings may be made. `own_ids`: its user namespace is not
    another container's. Raises InvalidArgument.
    """
    found = {}
    if "network" in own and not host.get("Privileged"):
        # Ports below 1024 and ping for every user of the container, as docker since 20.10.
        # The kernel takes only groups that the user namespace has.
        last = max((inside + count - 1 for inside, _outside, count in gid_map), default=0) if gid_map else 2147483647
        found = {"net.ipv4.ip_unprivileged_port_start": "0"}
        if own_ids:
            found["net.ipv4.ping_group_range"] = f"0 {last}"
    for name, value in (host.get("Sysctls") or {}).items():
        plain = name.replace("/", ".")
        if plain in defaults.IPC_SYSCTLS or plain.startswith(defaults.IPC_PREFIX):
            kind, words = "ipc", "IPC"
        elif plain.startswith(defaults.NETWORK_PREFIX):
            kind, words = "network", "network"
        else:
            raise InvalidArgument(f'invalid argument "{name}={value}" for "--sysctl": sysctl \'{name}\' is not allowed')
        if kind not in own:
            raise InvalidArgument(f"sysctl '{name}' is not allowed: the {words} namespace is not the container's own")
        found[plain] = str(value)
    return found
