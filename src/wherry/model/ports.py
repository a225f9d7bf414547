"""-p and --expose: port specifications (docker/go-connections, package nat; long form: docker/cli, opts/port.go)."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.model.record import Record

PROTOCOLS = ("tcp", "udp", "sctp")


class PublishedPort(Record):
    """One published port. `host_port` is a number as text, a range of which the first free one is taken, or "" for a random one."""

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: str = ""

    @property
    def key(self) -> str:
        """docker's name of the container's side: "80/tcp"."""
        return f"{self.container_port}/{self.protocol}"


def parse_publish(text: str) -> tuple[PublishedPort, ...]:
    """[[IP:][HOST_PORT[-END]]:]PORT[-END][/PROTOCOL], or published=…,target=…,protocol=…. Raises InvalidArgument."""
    if "=" in text:
        return _long(text)
    parts = text.split(":")
    # An IPv6 address may stand without brackets: what is in front of the last two colons.
    ip, host, inside = ":".join(parts[:-2]), parts[-2] if len(parts) > 1 else "", parts[-1]
    inside, _, protocol = inside.partition("/")
    if not inside:
        raise InvalidArgument(f"no port specified: {text}<empty>")
    protocol = _protocol(protocol)
    if ip.startswith("["):
        if not ip.endswith("]"):
            raise InvalidArgument(f"invalid IP address {ip}: missing ']' in address")
        ip = ip[1:-1]
    if ip and not is_address(ip):
        raise InvalidArgument(f"invalid IP address: {ip}")
    first, last = _range(inside, f"invalid containerPort: {inside}")
    if not host:
        return tuple(PublishedPort(number, protocol, ip) for number in range(first, last + 1))
    host_first, host_last = _range(host, f"invalid hostPort: {host}")
    if first == last:
        shown = str(host_first) if host_first == host_last else f"{host_first}-{host_last}"
        return (PublishedPort(first, protocol, ip, shown),)
    if last - first != host_last - host_first:
        raise InvalidArgument(f"invalid ranges specified for container and host Ports: {inside} and {host}")
    return tuple(PublishedPort(first + n, protocol, ip, str(host_first + n)) for n in range(last - first + 1))


def _long(text: str) -> tuple[PublishedPort, ...]:
    fields = {}
    for field in text.split(","):
        name, equals, value = field.partition("=")
        if not equals or not value:
            raise InvalidArgument(f"invalid field: {field}")
        if name.lower() not in ("published", "target", "protocol", "mode", "name"):
            raise InvalidArgument(f"invalid field key: {name}")
        fields[name.lower()] = value
    if "target" not in fields:
        raise InvalidArgument("missing mandatory field 'target'")
    if fields.get("mode", "ingress") not in ("host", "ingress"):
        raise InvalidArgument(f"invalid publish mode value ({fields['mode']}): must be either '\"ingress\"' or '\"host\"'")
    if fields.get("protocol", "tcp").lower() not in PROTOCOLS:
        raise InvalidArgument(f"invalid protocol value '{fields['protocol']}'")
    host = fields.get("published", "")
    return parse_publish(
        f"{host}:{fields['target']}/{fields.get('protocol', 'tcp')}" if host else f"{fields['target']}/{fields.get('protocol', 'tcp')}"
    )


def parse_expose(text: str) -> tuple[str, ...]:
    """PORT[-END][/PROTOCOL] as docker's keys: "80/tcp". Raises InvalidArgument."""
    if ":" in text:
        raise InvalidArgument(f"invalid port format for --expose: {text}")
    numbers, _, protocol = text.partition("/")
    first, last = _range(numbers, "")
    return tuple(f"{number}/{protocol.lower() or 'tcp'}" for number in range(first, last + 1))


def _protocol(text: str) -> str:
    protocol = text.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise InvalidArgument(f"invalid proto: {protocol}")
    return protocol


def _range(text: str, wrong: str) -> tuple[int, int]:
    start, dash, end = text.partition("-")
    first, last = _number(start, wrong), _number(end, wrong) if dash else 0
    if not dash:
        return first, first
    if last < first:
        raise InvalidArgument(wrong or f"invalid range format for --expose: {text}, error: invalid range specified for port: {text}")
    return first, last


def _number(text: str, wrong: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 1 << 16:
        return int(text)
    kind = "value out of range" if text.isascii() and text.isdigit() else "invalid syntax"
    raise InvalidArgument(wrong or f'invalid range format for --expose: {text}, error: strconv.ParseUint: parsing "{text}": {kind}')


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address, without brackets."""
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False
