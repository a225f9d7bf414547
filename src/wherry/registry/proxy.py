"""HTTP proxies from the environment, by Go's rules (which docker's users know): HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""

from __future__ import annotations

import os

from wherry.registry.endpoints import host_name, is_loopback


def proxy_for(scheme: str, host: str) -> str:
    """The proxy's URL for a host (with or without port), "" for none."""
    found = _variable(f"{scheme}_proxy")
    # Go never sends loopback addresses through a proxy.
    if not found or is_loopback(host) or _bypassed(host, scheme):
        return ""
    return found if "://" in found else "http://" + found


def _variable(name: str) -> str:
    return os.environ.get(name.upper(), "") or os.environ.get(name, "")


def _bypassed(host: str, scheme: str) -> bool:
    import ipaddress

    name = host_name(host).lower()
    port = host.rpartition(":")[2] if not host.endswith("]") and ":" in host.removeprefix("[" + name + "]") else ""
    port = port or ("443" if scheme == "https" else "80")
    for raw in _variable("no_proxy").split(","):
        entry = raw.strip().lower()
        if entry == "*":
            return True
        if "/" in entry:
            try:
                if ipaddress.ip_address(name) in ipaddress.ip_network(entry, strict=False):
                    return True
            except ValueError:
                continue
            continue
        wanted = host_name(entry)
        wanted_port = entry.rpartition(":")[2] if ":" in entry and not entry.startswith("[") and entry.count(":") == 1 else ""
        if wanted_port and wanted_port != port or not wanted:
            continue
        wanted = wanted.removeprefix("*")
        if name == wanted.removeprefix(".") and not wanted.startswith(".") or name.endswith("." + wanted.lstrip(".")):
            return True
    return False
