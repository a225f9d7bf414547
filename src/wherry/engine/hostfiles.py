"""The files wherry writes for a container: hosts, hostname, resolv.conf. Bound into it at start."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine.network_launch import Wiring
    from wherry.store import Store
    from wherry.store.containers import ContainerRow

# docker's text (libnetwork, etchosts).
_HOSTS = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def write(store: Store, row: ContainerRow, record: dict[str, Any], wiring: Wiring | None = None) -> None:
    """Write the three files anew, as docker does at every start."""
    folder = store.path("containers", row.id)
    host = record["HostConfig"]
    if host["NetworkMode"].startswith("container:"):
        _from_other(store, host["NetworkMode"][len("container:") :], folder)
        _put(folder + "/hostname", (record["Config"].get("Hostname") or "") + "\n")
        return
    on_host = host["NetworkMode"] == "host"
    hosts = _read("/etc/hosts", _HOSTS) if on_host else _HOSTS
    _put(folder + "/hosts", hosts + _extra_hosts(store, host) + (own_lines(store, record, wiring) if wiring else ""))
    _put(folder + "/hostname", (record["Config"].get("Hostname") or "") + "\n")
    if wiring is None:
        _put(folder + "/resolv.conf", _read("/etc/resolv.conf", "") if on_host else "")
    else:
        write_resolving(store, row, host, wiring)


def write_resolving(store: Store, row: ContainerRow, host: dict[str, Any], wiring: Wiring) -> None:
    """resolv.conf, and the settings of the resolver where there is one."""
    from wherry.engine import resolvconf

    folder = store.path("containers", row.id)

    found = resolvconf.with_wishes(resolvconf.of_host(), host)
    if not wiring.resolver:
        from wherry.network import links, rootless

        # A host that asks itself: in R-net somebody asks it for the container.
        own = (rootless.NAMES,) if links.is_user() else ()
        _put(folder + "/resolv.conf", resolvconf.for_bridge(found, own))
        return
    _put(folder + "/resolv.conf", resolvconf.for_resolver(found))
    write_resolver(store, row, host, wiring)


def write_resolver(store: Store, row: ContainerRow, host: dict[str, Any], wiring: Wiring) -> None:
    """The resolver's settings, replaced by rename: it notices."""
    from wherry.engine import resolvconf

    found = resolvconf.with_wishes(resolvconf.of_host(), host)
    named = [a for a in wiring.attached if a.wants_names]
    servers = tuple(s for a in named for s in a.record.get("Servers") or ())
    if all(a.record["Internal"] for a in wiring.attached):
        # Nothing outside is to be reached, not by way of names either.
        found, servers = found.replace(servers=(), overridden=("nameservers",)), ()
    path = store.run_path(row.id, "resolv")
    _put(path + ".new", resolvconf.settings(found, [(a.network.name, a.network.id) for a in named], servers))
    os.rename(path + ".new", path)


def rewrite_hosts(store: Store, row: ContainerRow, record: dict[str, Any], wiring: Wiring) -> None:
    """/etc/hosts of a running container after a connect or disconnect: the same inode, as the container has it bound."""
    _put(store.path("containers", row.id, "hosts"), _HOSTS + _extra_hosts(store, record["HostConfig"]) + own_lines(store, record, wiring))


def own_lines(store: Store, record: dict[str, Any], wiring: Wiring) -> str:
    """The container's own addresses, then the names by which it reaches the host and what it is linked to."""
    config, host = record["Config"], record["HostConfig"]
    name, domain = config.get("Hostname") or "", config.get("Domainname") or ""
    own = f"{name}.{domain} {name}" if domain else name
    lines = [f"{address}\t{own}\n" for a in wiring.attached for address in (a.endpoint.ipv4, a.endpoint.ipv6) if address]
    taken = {entry.partition(":")[0] for entry in host.get("ExtraHosts") or ()}
    from wherry.network import links, rootless

    gateway = rootless.HOST if links.is_user() and any(a.gateway(4) for a in wiring.attached) else ""
    gateway = gateway or next((a.gateway(4) or a.gateway(6) for a in wiring.attached if a.gateway(4) or a.gateway(6)), "")
    names = [n for n in ("host.docker.internal", "host.containers.internal") if n not in taken]
    if gateway and names:
        lines.append(f"{gateway}\t{' '.join(names)}\n")
    if host.get("Links"):
        from wherry.engine.network_connect import link_lines

        lines += link_lines(store, host["Links"], wiring.attached)
    return "".join(lines)


def _extra_hosts(store: Store, host: dict[str, Any]) -> str:
    lines = []
    for entry in host.get("ExtraHosts") or ():
        name, _, address = entry.partition(":")
        if address == "host-gateway":
            from wherry.engine.network_view import gateway_of_default

            address = gateway_of_default(store) or "127.0.0.1"
        lines.append(f"{address}\t{name}\n")
    return "".join(lines)


def _from_other(store: Store, other: str, folder: str) -> None:
    for name in ("hosts", "resolv.conf"):
        _put(f"{folder}/{name}", _read(store.path("containers", other, name), ""))


def _read(path: str, default: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1 << 20)
    except OSError:
        return default


def _put(path: str, text: str) -> None:
    # The same inode each time: a container that runs has it bound.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(fd, 0o644)
        os.write(fd, os.fsencode(text))
    finally:
        os.close(fd)
