"""The files wherry writes for a container: hosts, hostname, resolv.conf. Bound into it at start."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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


def write(store: Store, row: ContainerRow, record: dict[str, Any]) -> None:
    """Write the three files anew, as docker does at every start."""
    folder = store.path("containers", row.id)
    host = record["HostConfig"]
    if host["NetworkMode"].startswith("container:"):
        _from_other(store, host["NetworkMode"][len("container:") :], folder)
        _put(folder + "/hostname", (record["Config"].get("Hostname") or "") + "\n")
        return
    on_host = host["NetworkMode"] == "host"
    hosts = _read("/etc/hosts", _HOSTS) if on_host else _HOSTS
    _put(folder + "/hosts", hosts + _extra_hosts(host))
    _put(folder + "/hostname", (record["Config"].get("Hostname") or "") + "\n")
    _put(folder + "/resolv.conf", _read("/etc/resolv.conf", "") if on_host else "")


def _extra_hosts(host: dict[str, Any]) -> str:
    lines = []
    for entry in host.get("ExtraHosts") or ():
        name, _, address = entry.partition(":")
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
