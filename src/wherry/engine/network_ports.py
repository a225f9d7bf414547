"""Published ports at a start: which addresses of the host they get, and who has them if somebody has."""

from __future__ import annotations

import _socket
import os

from wherry.errors import Conflict, InvalidArgument
from wherry.model import addresses, config
from wherry.network import links
from wherry.store import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.engine.network_launch import Attached
    from wherry.store import Store
    from wherry.store.containers import ContainerRow

_ALL4, _ALL6 = "0.0.0.0", "::"
_HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"


def publish(store: Store, row: ContainerRow, record: dict[str, Any], attached: list[Attached]) -> None:
    """Give the container's published ports their addresses on the host, committed. Raises Conflict, naming who has one."""
    bridge = next((a for a in attached if a.network.driver == "bridge" and not a.record["Internal"]), None)
    if bridge is None:
        return
    default = str((bridge.record.get("Options") or {}).get(_HOST_BINDING) or _ALL4)
    if default == _ALL4:
        default = str(config.value("publish_address")) or _ALL4
    families = {v for a in attached for v, ip in ((4, a.endpoint.ipv4), (6, a.endpoint.ipv6)) if ip}
    with store.db.transaction(durable=False) as db:
        db.execute("DELETE FROM ports WHERE container_id = ?", (row.id,))
        for protocol, port, ip, text in _wanted(record):
            hosts = [ip] if ip else [default] if default != _ALL4 else [_ALL4, _ALL6] if _has_v6() else [_ALL4]
            # A kernel translates within a family: [::] of a container with IPv4 only would be held and not served. A user's link serves it.
            if not links.is_user():
                hosts = [h for h in hosts if addresses.family(h) in families] or hosts[:1]
            first, _, last = text.partition("-")
            numbers = range(int(first), int(last or first) + 1) if first else _random(protocol)
            _bind(store, row, bridge, protocol, port, hosts, numbers, text)


def _wanted(record: dict[str, Any]) -> list[tuple[str, int, str, str]]:
    """(protocol, container port, host address, host port as text) out of PortBindings and, with -P, what the image exposes."""
    host = record["HostConfig"]
    found = []
    for key, bindings in (host.get("PortBindings") or {}).items():
        number, _, protocol = key.partition("/")
        for binding in bindings or [{"HostIp": "", "HostPort": ""}]:
            found.append((protocol or "tcp", int(number), binding.get("HostIp") or "", binding.get("HostPort") or ""))
    if host.get("PublishAllPorts"):
        given = set((host.get("PortBindings") or {}).keys())
        for key in record["Config"].get("ExposedPorts") or {}:
            if key not in given:
                number, _, protocol = key.partition("/")
                found.append((protocol or "tcp", int(number), "", ""))
    # Fixed ones first: a random one must not take what another one needs.
    return sorted(found, key=lambda item: (not item[3], "-" in item[3]))


def _bind(store: Store, row: ContainerRow, bridge: Attached, protocol: str, port: int, hosts: list[str], numbers: Any, text: str) -> None:
    failure: tuple[str, int, str] | None = None
    for number in numbers:
        reason = ""
        for host in hosts:
            owner = _allocated(store, protocol, host, number)
            if owner:
                reason = f"Bind for {_shown(host)}:{number} failed: port is already allocated"
                failure = (reason, number, f"the container {owner} has it")
            else:
                error = _probe(protocol, host, number)
                if error:
                    reason = f"failed to bind host port {_shown(host)}:{number}/{protocol}: {error}"
                    failure = (reason, number, "")
            if reason:
                break
        if not reason:
            for host in hosts:
                networks.publish(store.db, row.id, protocol, port, host, number)
            return
    reason, number, hint = failure or ("no port is free", 0, "")
    if text and "-" in text:
        reason = f"all ports of {text} are allocated: {reason}"
    raise Conflict(
        f"failed to set up container networking: driver failed programming external connectivity on endpoint {row.name} "
        f"({bridge.endpoint.id}): {reason}",
        hint=hint or _why(reason, protocol, number),
        exit_code=125,
    )


def _why(reason: str, protocol: str, number: int) -> str:
    if "permission denied" in reason:
        return (
            "ports below net.ipv4.ip_unprivileged_port_start (1024 by default) are root's; publish another one, or as root: "
            f"sysctl net.ipv4.ip_unprivileged_port_start={number}"
        )
    return _holder(protocol, number)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _allocated(store: Store, protocol: str, host: str, number: int) -> str:
    """The name of the container of ours that has this port on this address, or on all, or on any if `host` is all."""
    rows = store.db.rows(
        "SELECT p.host_ip, c.name FROM ports p JOIN containers c ON c.id = p.container_id WHERE p.host_port = ? AND p.protocol = ?",
        (number, protocol),
    )
    for ip, name in rows:
        same = addresses.family(ip) == addresses.family(host)
        if same and (ip == host or ip in (_ALL4, _ALL6) or host in (_ALL4, _ALL6)):
            return str(name)
    return ""


def _probe(protocol: str, host: str, number: int) -> str:
    """Why the address can't be bound, "" if it can. The monitor binds it again and keeps it."""
    if protocol == "sctp":
        return ""
    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    probe = _socket.socket(family, (_socket.SOCK_DGRAM if protocol == "udp" else _socket.SOCK_STREAM) | _socket.SOCK_CLOEXEC, 0)
    try:
        if family == _socket.AF_INET6:
            probe.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        if links.is_user() and protocol == "tcp":  # ended connections of the last container that had the port don't count
            probe.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        probe.bind((host, number))
    except OSError as error:
        return os.strerror(error.errno or 0).lower()
    finally:
        probe.close()
    return ""


def _has_v6() -> bool:
    return os.path.exists("/proc/net/if_inet6")


def _random(protocol: str) -> range | list[int]:
    """Where a random port is looked for: the kernel's own range, from a random place on."""
    first, last = 32768, 60999
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            first, last = map(int, file.read().split()[:2])
    except (OSError, ValueError):
        pass
    size = last - first + 1
    start = int.from_bytes(os.urandom(4), "little") % size
    return [first + (start + step) % size for step in range(min(size, 2000))]


def _holder(protocol: str, number: int) -> str:
    """Which process of the host has a port: a look through /proc, for the message only."""
    inodes = set()
    for name in (protocol, protocol + "6"):
        try:
            with open(f"/proc/net/{name}", encoding="ascii") as file:
                for line in file.readlines()[1:]:
                    fields = line.split()
                    if int(fields[1].rpartition(":")[2], 16) == number and (protocol == "udp" or fields[3] == "0A"):
                        inodes.add(f"socket:[{fields[9]}]")
        except (OSError, ValueError):
            continue
    for entry in os.listdir("/proc") if inodes else ():
        if not entry.isdigit():
            continue
        try:
            for fd in os.listdir(f"/proc/{entry}/fd"):
                if os.readlink(f"/proc/{entry}/fd/{fd}") in inodes:
                    with open(f"/proc/{entry}/comm", encoding="utf-8", errors="replace") as file:
                        return f"the process {entry} ({file.read().strip()}) has it"
        except OSError:
            continue
    return "another process has it"


def check(host: dict[str, Any]) -> None:
    """PortBindings of a request, before anything is made. Raises InvalidArgument."""
    for key, bindings in (host.get("PortBindings") or {}).items():
        if key.partition("/")[2] not in ("tcp", "udp", "sctp"):
            raise InvalidArgument(f"invalid proto: {key}")
        for binding in bindings or ():
            ip = binding.get("HostIp") or ""
            if ip and not addresses.family(ip):
                raise InvalidArgument(f"invalid IP address: {ip}")
